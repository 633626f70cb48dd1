"""Fixtures of the tests that run whole processes."""

from support.standalone_kit import anybodys_place, place

__all__ = ["anybodys_place", "place"]
