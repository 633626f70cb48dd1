"""Fixtures of the tests of the store and the index."""

from support.indexer_tools import index, mount, settings

__all__ = ["index", "mount", "settings"]
