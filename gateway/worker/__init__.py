"""The worker: claim, read, report, finish."""
