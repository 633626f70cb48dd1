"""Cleanup contexts that watch something, each one `check_once`."""
