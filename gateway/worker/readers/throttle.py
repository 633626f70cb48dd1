"""The limit on the bytes per second that the readers of a worker read together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

# The unused bytes that may be caught up with after a late wake-up, and the bytes taken at once, in
# seconds of the rate. Their sum bounds the error over any stretch of time.
CREDIT_SECONDS: Final = 0.05
PIECE_SECONDS: Final = 0.025
MIN_PIECE: Final = 4096
# Seconds between two looks whether a waiting read was cancelled.
LOOK_SECONDS: Final = 0.1


class ByteBucket:
    """A token bucket of bytes that may be in debt. Pure; times are in seconds and never fall.

    Any number of bytes may be taken once no debt is left, so that no read is too large; the next
    one waits for the debt. A rate of 0 is no limit.
    """

    def __init__(self, bytes_per_second: int, now: float) -> None:
        self.bytes_per_second = bytes_per_second
        self._balance = 0.0
        self._at = now

    def set(self, bytes_per_second: int, now: float) -> None:
        """Change the rate. A debt is forgiven: at a much lower rate it would last long."""
        self.bytes_per_second = bytes_per_second
        self._balance, self._at = 0.0, now

    def seconds_until_free(self, now: float) -> float:
        """Seconds until bytes may be taken."""
        if not self.bytes_per_second:
            return 0.0
        self._refill(now)
        # Less than a byte is no debt: clocks are too coarse to wait for it.
        return -self._balance / self.bytes_per_second if self._balance <= -1 else 0.0

    def take(self, count: int) -> None:
        """Take ``count`` bytes; a negative count returns bytes that there were not to read."""
        self._balance -= count

    def piece(self, requested: int) -> int:
        """How many of the requested bytes to take at once, so that reads are spread evenly."""
        if not self.bytes_per_second:
            return requested
        return min(requested, max(MIN_PIECE, int(self.bytes_per_second * PIECE_SECONDS)))

    def _refill(self, now: float) -> None:
        gained = (now - self._at) * self.bytes_per_second
        self._balance = min(self._balance + gained, self.bytes_per_second * CREDIT_SECONDS)
        self._at = now


class Throttle:
    """Makes reading threads wait, so that they keep to ``bytes_per_second``; 0: no limit.

    All methods are for any thread, also while others wait.
    """

    def __init__(
        self, bytes_per_second: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._bucket = ByteBucket(bytes_per_second, clock())
        self._changed = threading.Condition()
        # One thread waits for the bucket, the others for the turn: not all wake for each piece.
        self._turn = threading.Lock()

    @property
    def bytes_per_second(self) -> int:
        """The limit; 0 if there is none."""
        return self._bucket.bytes_per_second

    @property
    def is_on(self) -> bool:
        """Whether there is a limit."""
        return self._bucket.bytes_per_second > 0

    def set(self, bytes_per_second: int) -> None:
        """Change the limit at once, also for threads that wait."""
        with self._changed:
            self._bucket.set(bytes_per_second, self._clock())
            self._changed.notify_all()

    def take(self, requested: int, is_cancelled: Callable[[], bool]) -> int:
        """Wait until some of the requested bytes may be read; returns how many.

        Returns 0 once ``is_cancelled``, which is called ten times per second.
        """
        while not self._turn.acquire(timeout=LOOK_SECONDS):
            if is_cancelled():
                return 0
        try:
            return self._take(requested, is_cancelled)
        finally:
            self._turn.release()

    def _take(self, requested: int, is_cancelled: Callable[[], bool]) -> int:
        with self._changed:
            while seconds := self._bucket.seconds_until_free(self._clock()):
                if is_cancelled():
                    return 0
                self._changed.wait(min(seconds, LOOK_SECONDS))
            count = self._bucket.piece(requested)
            self._bucket.take(count)
            return count

    def refund(self, count: int) -> None:
        """Return bytes that were taken but not read."""
        if self.is_on:
            with self._changed:
                self._bucket.take(-count)
