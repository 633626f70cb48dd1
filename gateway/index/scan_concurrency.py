"""How many folders a scan reads at once: one on a fast disk, more where reads wait.

Threads that never wait contend for the GIL: four read a local tree half as fast as one.
"""

from __future__ import annotations

from typing import Final

# A folder counts as waited for if it takes longer than this many seconds plus this factor times its
# processor time and the number of threads that share the GIL.
GRACE_SECONDS: Final = 0.0005
GRACE_FACTOR: Final = 1.5
# The maximum of remembered waiting, in seconds; reading without waits reduces it.
MEMORY_SECONDS: Final = 1.0


class ScanConcurrency:
    """A limit between 1 and ``maximum``: doubled by a wait, and lowered by one at a time.

    It falls once folders without a wait have taken as long as the waits before: in a half-cached
    filespace many fast folders do not outweigh a slow one. All threads of a scan share it; call it
    with their lock held.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._waited = 0.0
        self.limit = 1

    def note_folder(self, seconds: float, processor_seconds: float, active: int) -> None:
        """Note a folder's elapsed and processor time, with ``active`` folders read at once."""
        if seconds > GRACE_SECONDS + GRACE_FACTOR * active * processor_seconds:
            self.note_wait(seconds)
            return
        self._waited = max(self._waited - seconds, 0.0)
        if not self._waited:
            self.limit = max(self.limit - 1, 1)

    def note_wait(self, seconds: float) -> None:
        """Raise the limit, because a folder was waited for this long."""
        self._waited = min(self._waited + seconds, MEMORY_SECONDS)
        self.limit = min(2 * self.limit, self._maximum)
