"""How many folders a scan reads at once: one from a quick disk, more where there is waiting to do.

Threads that never wait take turns with Python's lock: four read a local tree half as fast as one.
"""

from __future__ import annotations

from typing import Final

# Besides what it took of a processor, a folder may take so long, in seconds, and so many times as
# much as those that take turns with it; what is longer was waited for.
GRACE_SECONDS: Final = 0.0005
GRACE_FACTOR: Final = 1.5
# So long a wait is remembered, in seconds of reading without one.
MEMORY_SECONDS: Final = 1.0


class ScanConcurrency:
    """A limit between 1 and ``most``: doubled when a folder was waited for, and lowered bit by bit.

    It falls once folders that nothing was waited for have taken as long as the waits before: of
    a filespace that is half in a cache, many quick folders do not outweigh a slow one. All threads
    of a scan share it: who calls it holds their lock.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waited = 0.0
        self.limit = 1

    def folder_read(self, seconds: float, processor_seconds: float, at_work: int) -> None:
        """Learn from a folder: how long it took, of a processor too, while so many were read."""
        if seconds > GRACE_SECONDS + GRACE_FACTOR * at_work * processor_seconds:
            self.waited(seconds)
            return
        self._waited = max(self._waited - seconds, 0.0)
        if not self._waited:
            self.limit = max(self.limit - 1, 1)

    def waited(self, seconds: float) -> None:
        """Have more folders read at once: one was waited for, or is, for so long."""
        self._waited = min(self._waited + seconds, MEMORY_SECONDS)
        self.limit = min(2 * self.limit, self._most)
