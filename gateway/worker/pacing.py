"""When a worker reports and claims, and how much. Pure; the clock is injected."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.settings import Settings
from gateway.worker.readers.pool import MAX_CONCURRENT_LARGE
from gateway.worker.timers import Timers

# How many items are claimed ahead at least and at most, whatever the rate. Of large files hardly
# any are, so that a new job need not wait until those of an older one are read.
MIN_AHEAD = 2
MAX_AHEAD = 8192
FIRST_CLAIM = 512
MAX_UNREPORTED = 2 * MAX_AHEAD
# While fewer reads than these are moving, the claimer rests until one of them has ended.
FEW_READS = 16
# The weight of the newest rate in the running average.
SMOOTHING = 0.5


class Pacing:
    """Keeps the thresholds of the settings: a number of files, or of milliseconds."""

    def __init__(
        self, settings: Settings, timers: Timers, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.timers = timers
        self._clock = clock
        self._concurrency = settings.worker_concurrency
        self._file_threshold = min(settings.cache_progress_file_threshold, MAX_AHEAD)
        self._time_threshold = settings.cache_progress_time_threshold / 1000
        self._reported_at = clock()
        self._nothing_until = 0.0
        self._items_per_second = 0.0

    def is_report_due(self, ended: int, *, is_idle: bool) -> bool:
        """Whether to report, given how many items ended since; ``is_idle``: nothing is read."""
        elapsed = self._clock() - self._reported_at
        if elapsed >= self._time_threshold or (ended and is_idle):
            return True
        return ended >= self._file_threshold and elapsed >= self.timers.report

    def seconds_until_report(self, *, is_idle: bool = False) -> float:
        """How long until a report is due however few items ended."""
        if is_idle:
            return self.timers.idle
        return max(0.0, self._reported_at + self._time_threshold - self._clock())

    def seconds_until_claim(self, *, is_idle: bool, moving: int) -> float:
        """How long until there may be room for another claim; ``moving``: reads under way."""
        if is_idle:
            return self.timers.idle
        # While a report is under way no outcome ends the rest.
        return self.timers.gather if moving > FEW_READS else self.timers.check

    def reported(self, ended: int) -> None:
        """Note that a report was written, with so many ended items."""
        now = self._clock()
        rate = ended / max(now - self._reported_at, 0.001)
        self._items_per_second += SMOOTHING * (rate - self._items_per_second)
        self._reported_at = now

    def claim_size(self, places: int, unreported: int) -> int:
        """How many items to claim now; 0 while enough are waiting.

        ``places``: readers that the unfinished items are worth. ``unreported``: items whose end
        is not reported; their number is bounded while reports fail.
        """
        if self._clock() < self._nothing_until or unreported > MAX_UNREPORTED:
            return 0
        ahead = int(self._items_per_second * self.timers.ahead)
        ahead = min(MAX_AHEAD, max(MIN_AHEAD, ahead))
        # A quarter of them at a time: a claim for each item that ends would be a statement each.
        waiting = places - self._concurrency
        if waiting > ahead * 3 // 4:
            return 0
        # Not all at once. If they are large, fewer are enough; and while hardly anything is being
        # read, a few arrive long before thousands do.
        return min(ahead - waiting, MAX_CONCURRENT_LARGE + ahead, FIRST_CLAIM + 2 * places)

    def found_nothing(self) -> None:
        """There was nothing to claim: wait a little, unless something is announced."""
        self._nothing_until = self._clock() + self.timers.nothing

    def look_again(self) -> None:
        """Something was announced: claim at once."""
        self._nothing_until = 0.0
