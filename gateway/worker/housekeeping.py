"""Repairs what should not be broken: lost answers, jobs that missed their end, unset flags."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from gateway.worker.cached_flags import CachedFlagWriter
from gateway.worker.in_flight import InFlightTable
from gateway.worker.item_store import ItemStore
from gateway.worker.timers import Timers

log = logging.getLogger(__name__)


class Housekeeping:
    """Runs between claims, at most once in ``timers.housekeeping`` seconds."""

    def __init__(
        self,
        items: ItemStore,
        in_flight: InFlightTable,
        cached_flags: CachedFlagWriter,
        timers: Timers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._items = items
        self._in_flight = in_flight
        self._cached_flags = cached_flags
        self._timers = timers
        self._clock = clock
        self._done_at = clock()
        self._drained: set[str] = set()

    async def run_if_due(self) -> bool:
        """Repair what is broken; whether there are items to claim again. Not during a claim."""
        now = self._clock()
        if now - self._done_at < self._timers.housekeeping:
            return False
        self._done_at = now
        reclaimed = await self._reclaim_orphans()
        await self._end_drained_jobs()
        for job_id in await self._items.jobs_with_unset_flags(self._timers.unset_flags):
            self._cached_flags.end(job_id)
        return reclaimed > 0

    async def _reclaim_orphans(self) -> int:
        """Return the items of claims whose answers were lost."""
        orphans = await self._items.reclaim_orphans(self._in_flight.items)
        if orphans:
            log.warning("worker: %d files came back whose claim was not answered", orphans)
        return orphans

    async def _end_drained_jobs(self) -> None:
        """End jobs that were drained at two rounds in a row.

        A backend that has just read the last file may still end its job itself.
        """
        drained = set(await self._items.drained_jobs(self._timers.quiet))
        for job_id in drained & self._drained:
            if await self._items.finish_drained_job(job_id):
                log.warning("job %s had nothing left and was ended", job_id)
                self._cached_flags.end(job_id)
        self._drained = drained
