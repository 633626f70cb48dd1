"""How many bytes per second the readers of a worker may read, all together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

# What may be made up for after a late wake-up, and what is read at once, in seconds of the rate:
# together they are how far the bytes of any stretch of time can be off.
CREDIT_SECONDS: Final = 0.05
PIECE_SECONDS: Final = 0.025
MIN_PIECE: Final = 4096
# Whoever waits looks this often whether the bytes are still wanted, in seconds.
LOOK_SECONDS: Final = 0.1


class ByteBucket:
    """A token bucket of bytes that may be in debt. Pure; times are in seconds and never fall.

    Bytes are taken as soon as no debt is left, however many, so that nothing is too large to be
    taken, and the debt is waited for afterwards. A rate of 0 is no limit.
    """

    def __init__(self, bytes_per_second: int, now: float) -> None:
        self.bytes_per_second = bytes_per_second
        self._balance = 0.0
        self._at = now

    def set(self, bytes_per_second: int, now: float) -> None:
        """Go on at another rate; a debt is forgiven: it would take long at a much lower one."""
        self.bytes_per_second = bytes_per_second
        self._balance, self._at = 0.0, now

    def seconds_until_free(self, now: float) -> float:
        """How long to wait before something may be taken; 0: now."""
        if not self.bytes_per_second:
            return 0.0
        self._refill(now)
        # Less than a byte is no debt: no clock is fine enough to wait for it.
        return -self._balance / self.bytes_per_second if self._balance <= -1 else 0.0

    def take(self, count: int) -> None:
        """Take so many; negative: give them back, since they were not there to be read."""
        self._balance -= count

    def piece(self, wanted: int) -> int:
        """How many of ``wanted`` bytes to take at once, so that they come evenly."""
        if not self.bytes_per_second:
            return wanted
        return min(wanted, max(MIN_PIECE, int(self.bytes_per_second * PIECE_SECONDS)))

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
        self._budget = ByteBucket(bytes_per_second, clock())
        self._changed = threading.Condition()
        # One waits for the budget, the others for their turn: not all of them wake for each piece.
        self._turn = threading.Lock()

    @property
    def bytes_per_second(self) -> int:
        """The limit; 0 if there is none."""
        return self._budget.bytes_per_second

    @property
    def is_on(self) -> bool:
        """Whether there is a limit."""
        return self._budget.bytes_per_second > 0

    def set(self, bytes_per_second: int) -> None:
        """Change the limit at once, also for those who wait."""
        with self._changed:
            self._budget.set(bytes_per_second, self._clock())
            self._changed.notify_all()

    def take(self, wanted: int, is_unwanted: Callable[[], bool]) -> int:
        """Wait until some of ``wanted`` bytes may be read; returns how many.

        0 as soon as they ``is_unwanted``, which is looked at ten times per second.
        """
        while not self._turn.acquire(timeout=LOOK_SECONDS):
            if is_unwanted():
                return 0
        try:
            return self._take(wanted, is_unwanted)
        finally:
            self._turn.release()

    def _take(self, wanted: int, is_unwanted: Callable[[], bool]) -> int:
        with self._changed:
            while seconds := self._budget.seconds_until_free(self._clock()):
                if is_unwanted():
                    return 0
                self._changed.wait(min(seconds, LOOK_SECONDS))
            count = self._budget.piece(wanted)
            self._budget.take(count)
            return count

    def give_back(self, count: int) -> None:
        """Of what was taken, so many bytes were not there to be read."""
        if self.is_on:
            with self._changed:
                self._budget.take(-count)
