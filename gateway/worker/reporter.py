"""Reports to the database how reads ended, and how far the others have got."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from gateway.job import JobStatus
from gateway.runtime.tasks import wait_for_event
from gateway.worker.cached_flags import CachedFlagWriter
from gateway.worker.deferred_errors import DeferredErrors
from gateway.worker.in_flight import InFlightTable, ItemReport
from gateway.worker.item_store import ItemStore
from gateway.worker.pacing import Pacing
from gateway.worker.readers.pools import ReaderPools

log = logging.getLogger(__name__)

# Files per statement: after an outage of the database there may be far more.
REPORTS_PER_STATEMENT = 10_000


class Reporter:
    """Collects outcomes, reports them in batches, and follows up: cached flags, failures, ends."""

    def __init__(
        self,
        items: ItemStore,
        in_flight: InFlightTable,
        pool: ReaderPools,
        pacing: Pacing,
        cached_flags: CachedFlagWriter,
    ) -> None:
        self._items = items
        self._in_flight = in_flight
        self._pool = pool
        self._pacing = pacing
        self._cached_flags = cached_flags
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be something to report: end the rest."""
        self._woken.set()

    async def rest(self) -> None:
        """Sleep until a read has ended, or progress is due."""
        await self._sleep(self._pacing.seconds_until_report(is_idle=not self._in_flight))
        if self._pool.unfinished:
            # Not after the last read: nothing more would come.
            await self._sleep(self._pacing.timers.gather)

    async def _sleep(self, seconds: float) -> None:
        await wait_for_event(self._woken, seconds)
        self._woken.clear()

    async def report_if_due(self) -> None:
        """Report unless so little has happened that it can wait."""
        self.collect()
        if self._pacing.is_report_due(self._in_flight.ended, is_idle=not self._pool.moving):
            await self.report()

    def collect(self) -> None:
        """Enter the outcomes of reads that have ended."""
        for outcome in self._pool.drain():
            self._in_flight.end(outcome)

    async def report(self) -> None:
        """Report everything that the database does not have yet.

        Raises `DatabaseUnavailable` after all jobs were tried; what failed is reported next time.
        """
        ended = self._in_flight.ended
        errors = DeferredErrors()
        for job_id, reports in self._in_flight.reports().items():
            for start in range(0, len(reports), REPORTS_PER_STATEMENT):
                part = reports[start : start + REPORTS_PER_STATEMENT]
                await errors.add(self._report_job(job_id, part))
        self._pacing.reported(ended - self._in_flight.ended)
        errors.raise_first()

    async def _report_job(self, job_id: str, reports: Sequence[ItemReport]) -> None:
        status = await self._items.report(job_id, reports)
        self._in_flight.acknowledge(reports)
        self._follow_up(job_id, reports, status)

    def _follow_up(
        self, job_id: str, reports: Sequence[ItemReport], status: JobStatus | None
    ) -> None:
        self._cached_flags.add(job_id, [r.task.item_id for r in reports if r.status == "completed"])
        _log_failures(job_id, [r for r in reports if r.status == "failed"])
        if status is not None and status.has_ended:
            log.info("job %s %s", job_id, status)
            self._cached_flags.end(job_id)


def _log_failures(job_id: str, failed: Sequence[ItemReport]) -> None:
    if failed:
        path, error = failed[0].task.path, failed[0].error
        log.warning("job %s: %d files failed, the first: %r: %s", job_id, len(failed), path, error)
