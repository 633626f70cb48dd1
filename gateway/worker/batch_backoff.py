"""How many batches of locked files may be under way. Pure; the clock is injected."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

# While one is read, one is reported, and the next is there already.
MOST_BATCHES: Final = 3
# After so many seconds without a batch nothing is known of the next.
FORGET_SECONDS: Final = 2.0
# Where files were not small it is tried again so much later, in seconds.
REFUSED_SECONDS: Final = 1.0
# And where locks did not last until they were read, or reported: twice as late each time.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0


class BatchPace:
    """One batch at first; more when it was read in time; none for a while when it was not."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._succeeded_at = -FORGET_SECONDS
        self._again_at = clock()
        self._pause = FIRST_PAUSE

    @property
    def most(self) -> int:
        """How many there may be now."""
        now = self._clock()
        if now < self._again_at:
            return 0
        return MOST_BATCHES if now - self._succeeded_at < FORGET_SECONDS else 1

    def succeed(self) -> None:
        """All of a batch was read and reported while it was locked."""
        self._succeeded_at = self._clock()
        self._pause = FIRST_PAUSE

    def fail(self) -> None:
        """Some of it was not, or nobody knows."""
        self._succeeded_at = -FORGET_SECONDS
        self._again_at = self._clock() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def refuse(self) -> None:
        """Files were claimed instead: not all of them were small."""
        self._again_at = max(self._again_at, self._clock() + REFUSED_SECONDS)
