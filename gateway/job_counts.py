"""How many jobs there are of each state, for scrapes: counted at most once in a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gateway.jobs import JobStatus

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
        self._counting: asyncio.Task[Counts] | None = None
        self._expires_at = 0.0

    async def get(self) -> Counts:
        """Jobs by state; states in which no job is are left out. Raises `DatabaseUnavailable`."""
        if self._counting is None or (self._counting.done() and self._is_stale(self._counting)):
            self._counting = asyncio.create_task(self._counted(), name="count of jobs")
        # Shielded: one caller who gives up must not cancel the count for the others.
        return await asyncio.shield(self._counting)

    def _is_stale(self, counting: asyncio.Task[Counts]) -> bool:
        # A failure is told to those who waited for it, and tried again for who comes next.
        has_failed = counting.cancelled() or counting.exception() is not None
        return has_failed or self._clock() >= self._expires_at

    async def _counted(self) -> Counts:
        counts = await self._count()
        self._expires_at = self._clock() + FRESH_SECONDS
        return counts
