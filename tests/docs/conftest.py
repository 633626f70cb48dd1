"""Fixtures of the tests of the documentation."""

from support.how_to_kit import sample

__all__ = ["sample"]
