"""Whether PostgreSQL has no room to write: it goes on reading then, and all looks well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.database.errors import is_disk_full
from gateway.errors import DatabaseUnavailable

SENTENCE: Final = "The disk of the database is full: no job can be submitted"


class FullDisk:
    """Set when a write failed for want of room, until one succeeds again."""

    def __init__(self) -> None:
        self.is_full = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around something that writes: what becomes of it says whether there is room."""
        try:
            yield
        except DatabaseUnavailable as error:
            if is_disk_full(error):
                self.is_full = True
            raise
        self.is_full = False
