"""Fixtures of the tests that kill, stop and load whole processes for minutes."""

from support.standalone_kit import place

__all__ = ["place"]
