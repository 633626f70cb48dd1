"""The worker: claims items, reads their files, reports, and ends jobs."""
