"""How many folders a scan reads at once: one from a quick disk, more where there is waiting to do.

Threads that never wait take turns with Python's lock: four read a local tree half as fast as one.
"""

from __future__ import annotations

from typing import Final

# An entry that takes longer than this, in seconds, was waited for: to list it and to ask for its
# status costs some microseconds.
WAITED_SECONDS: Final = 0.0001


class ScanConcurrency:
    """A limit between 1 and ``most``, doubled after a slow folder, one less after a quick one.

    All threads of a scan share it: who calls it holds their lock.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = 1

    def folder_read(self, entries: int, seconds: float) -> None:
        """Learn from a folder: it held so many entries, and took so long."""
        if seconds > WAITED_SECONDS * (1 + entries):
            self.rise()
        else:
            self.limit = max(self.limit - 1, 1)

    def rise(self) -> None:
        """Have more folders read at once: those that are being read take long."""
        self.limit = min(2 * self.limit, self._most)
