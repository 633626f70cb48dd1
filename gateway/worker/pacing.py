"""When a worker reports and claims, and how much. Pure; the clock is injected."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.settings import Settings
from gateway.worker.readers.pool import MAX_CONCURRENT_LARGE

# Reports are at least this far apart, in seconds, however many files end meanwhile: each notifies
# the gateways, and NOTIFY takes a lock at commit that every other writer waits for.
REPORT_SECONDS = 0.03
# What should not be needed at all is looked for this often, in seconds.
TIDY_SECONDS = 5.0
# Work is claimed ahead for this many seconds at the current pace, and for so many items at most:
# of large files hardly any, so that a new job need not wait until those of an older one are read.
AHEAD_SECONDS = 1.0
MIN_AHEAD = 2
MAX_AHEAD = 8192
FIRST_CLAIM = 512
MAX_UNREPORTED = 2 * MAX_AHEAD
# Without anything to claim the database is asked again after this long, in seconds.
NOTHING_SECONDS = 1.0
# The weight of the newest rate in the running average.
SMOOTHING = 0.5


class Pacing:
    """Keeps the thresholds of the settings: so many files, or so many milliseconds."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._concurrency = settings.worker_concurrency
        self._file_threshold = min(settings.cache_progress_file_threshold, MAX_AHEAD)
        self._time_threshold = settings.cache_progress_time_threshold / 1000
        self._reported_at = self._tidied_at = clock()
        self._nothing_until = 0.0
        self._items_per_second = 0.0

    def is_tidying_due(self) -> bool:
        """Whether to look for what went astray now; True at most every 5 s."""
        now = self._clock()
        if now - self._tidied_at < TIDY_SECONDS:
            return False
        self._tidied_at = now
        return True

    def is_report_due(self, ended: int, *, is_idle: bool) -> bool:
        """Whether to report, given how many items ended since; ``is_idle``: nothing is read."""
        elapsed = self._clock() - self._reported_at
        if elapsed >= self._time_threshold or (ended and is_idle):
            return True
        return ended >= self._file_threshold and elapsed >= REPORT_SECONDS

    def seconds_until_report(self) -> float:
        """How long until a report is due however few items ended."""
        return max(0.0, self._reported_at + self._time_threshold - self._clock())

    def reported(self, ended: int) -> None:
        """Note that a report was written, with so many ended items."""
        now = self._clock()
        rate = ended / max(now - self._reported_at, 0.001)
        self._items_per_second += SMOOTHING * (rate - self._items_per_second)
        self._reported_at = now

    def claim_size(self, places: int, ended: int) -> int:
        """How many items to claim now; 0 while enough are waiting.

        ``places``: readers that the unfinished items are worth.
        ``ended``: items whose end is not reported. There is a limit to what is kept of them
        while reports fail.
        """
        if self._clock() < self._nothing_until or ended > MAX_UNREPORTED:
            return 0
        ahead = int(self._items_per_second * AHEAD_SECONDS)
        ahead = min(MAX_AHEAD, max(MIN_AHEAD, ahead))
        # A quarter of a stock at a time: a claim for each item that ends would be a statement each.
        waiting = places - self._concurrency
        if waiting > ahead * 3 // 4:
            return 0
        # Not all at once: when they are large, fewer are enough; and where hardly anything is being
        # read, the first few are there long before thousands are.
        return min(ahead - waiting, MAX_CONCURRENT_LARGE + ahead, FIRST_CLAIM + 2 * places)

    def found_nothing(self) -> None:
        """There was nothing to claim: wait a little, unless something is announced."""
        self._nothing_until = self._clock() + NOTHING_SECONDS

    def look_again(self) -> None:
        """Something was announced: claim at once."""
        self._nothing_until = 0.0
