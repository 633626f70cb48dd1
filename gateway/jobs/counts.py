"""How many jobs there are of each state, for scrapes: counted at most once in a while."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gateway.job import JobStatus
from gateway.runtime.single_flight import SingleFlight

FRESH_SECONDS: Final = 5.0

Counts = Mapping[JobStatus, int]


class JobCounts:
    """Remembers the counts for five seconds; however many ask at once, ``count`` runs once.

    Anybody may scrape, and counting looks at every job. ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self, count: Callable[[], Awaitable[Counts]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count = count
        self._clock = clock
        self._reads = SingleFlight(self._count_unless_fresh)
        self._counts: Counts = {}
        self._expires_at = -math.inf

    async def get(self) -> Counts:
        """Jobs by state; states in which no job is are left out. Raises `DatabaseUnavailable`."""
        return self._counts if self._is_fresh() else await self._reads.get(None)

    async def _count_unless_fresh(self, _key: None) -> Counts:
        """What was counted while these waited will do; a failure is told to nobody else."""
        if not self._is_fresh():
            self._counts = await self._count()
            self._expires_at = self._clock() + FRESH_SECONDS
        return self._counts

    def _is_fresh(self) -> bool:
        return self._clock() < self._expires_at
