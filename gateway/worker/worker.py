"""The worker: claims items, has them read, reports, and gives back what it has not read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

from gateway.database import Database
from gateway.job import JOBS_CHANNEL
from gateway.mount.mount import Mount
from gateway.runtime.tasks import background_task
from gateway.settings import Settings
from gateway.settings.filespaces import make_filespaces
from gateway.worker.cached_flags import CachedFlagWriter
from gateway.worker.claimer import Claimer
from gateway.worker.housekeeping import Housekeeping
from gateway.worker.in_flight import InFlightTable
from gateway.worker.item_store import ItemStore
from gateway.worker.lease import Lease
from gateway.worker.pacing import Pacing
from gateway.worker.readers.file_source import FileSource
from gateway.worker.readers.pools import ReaderPools
from gateway.worker.reporter import Reporter
from gateway.worker.retries import Retries
from gateway.worker.throttle_store import THROTTLE_CHANNEL, ThrottleStore, ThrottleSync
from gateway.worker.timers import Timers

log = logging.getLogger(__name__)


class Worker:
    """Reads the files of cache jobs through the mount. Several workers may share a job.

    ``is_alone``: no other worker can be alive when it starts, whatever their leases say.
    ``source`` replaces the real files. Must be made in a running event loop.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        is_alone: bool = False,
        source: FileSource | None = None,
        timers: Timers = Timers(),  # noqa: B008 - it is frozen
    ) -> None:
        self._settings = settings
        self._database = database
        self._timers = timers
        self._items = ItemStore(database, settings.worker_lease)
        self._in_flight = InFlightTable()
        self._retries = Retries(timers.retry)
        self._throttle_sync = ThrottleSync(
            ThrottleStore(database), settings.worker_max_bytes_per_second
        )
        self._pool = self._make_pool(source)
        self._cached_flags = CachedFlagWriter(self._items, timers, lambda: self.is_busy)
        pacing = Pacing(settings, timers)
        self._reporter = Reporter(
            self._items, self._in_flight, self._pool, pacing, self._cached_flags
        )
        self._claimer = Claimer(self._items, self._in_flight, self._pool, pacing, self._reporter)
        self._lease = Lease(self._items, self._in_flight, self._claimer, is_alone=is_alone)
        self._housekeeping = Housekeeping(self._items, self._in_flight, self._cached_flags, timers)

    def _make_pool(self, source: FileSource | None) -> ReaderPools:
        loop = asyncio.get_running_loop()
        return ReaderPools(
            self._settings.mount_points,
            concurrency=self._settings.worker_concurrency,
            chunk_size=self._settings.worker_chunk_size,
            read_timeout=self._settings.worker_read_timeout,
            on_outcomes=partial(loop.call_soon_threadsafe, self._wake),
            source=source,
            allowed=make_filespaces(self._settings).allowed_prefixes,
            throttle=self._throttle_sync.throttle,
            timers=self._timers,
        )

    @property
    def is_busy(self) -> bool:
        """Whether it has files to read, or to report."""
        return len(self._in_flight) > 0

    @property
    def bytes_read(self) -> int:
        """Bytes read since the start; never falls."""
        return self._pool.bytes_read

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; then give back what is not read, within the shutdown time."""
        # Also during the shutdown: a statement that is cut off holds its rows for a while.
        async with background_task(self._cached_flags.run()):
            await self._work_until(stop)
            await self._shut_down()

    async def _work_until(self, stop: asyncio.Event) -> None:
        repeat, check = self._retries.repeat, self._timers.check
        # Each in a task of its own: a statement that hangs holds up none of the others.
        async with (
            background_task(self._check_mount()),
            background_task(repeat(self._lease.renew, self._settings.worker_lease / 3)),
            background_task(repeat(self._follow_announcements)),
            background_task(repeat(self._check_stalled, check)),
            background_task(repeat(self._stop_reads, check)),
            background_task(self._rounds(stop, self._claim, self._claimer.rest)) as claiming,
            background_task(
                self._rounds(stop, self._reporter.report_if_due, self._reporter.rest)
            ) as reporting,
        ):
            await stop.wait()
            self._wake()
            # The database may not answer: a round under way is not waited for without end.
            await asyncio.wait({claiming, reporting}, timeout=self._settings.shutdown_timeout / 4)

    async def _rounds(
        self,
        stop: asyncio.Event,
        work: Callable[[], Coroutine[Any, Any, None]],
        rest: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        while not stop.is_set():
            await self._retries.attempt(work)
            await rest()

    def _wake(self) -> None:
        self._reporter.wake()
        self._claimer.wake()

    async def _check_mount(self) -> None:
        """Log what is read, and whether there is anything: people forget to mount."""
        mount_points = self._settings.mount_points
        readers = self._settings.worker_concurrency
        log.info("reading %s with %d readers", ", ".join(mount_points), readers)
        mounted = await Mount(mount_points).mounted()
        for mount_point in mount_points:
            if mount_point not in mounted:
                log.warning("%s is no directory with something in it", mount_point)

    async def _claim(self) -> None:
        if not self._items.has_lease or not self._throttle_sync.is_known:
            return
        if await self._housekeeping.run_if_due():
            self._claimer.look_again()
        await self._claimer.refill()

    async def _check_stalled(self) -> None:
        self._pool.check_stalled()

    async def _stop_reads(self) -> None:
        """Stop reading the files of jobs that were cancelled, ended or deleted."""
        self._in_flight.stop(await self._items.stopped_jobs(list(self._in_flight.jobs)))

    async def _follow_announcements(self) -> None:
        channels = (JOBS_CHANNEL, THROTTLE_CHANNEL)
        async with aclosing(self._database.listen(*channels)) as announcements:
            async for channel, payload in announcements:
                if channel != JOBS_CHANNEL:
                    await self._throttle_sync.refresh()
                self._retries.succeeded(self._follow_announcements)
                # Progress is announced too, mostly our own. Only a job that is pending, or is or
                # was paused, means work.
                if not payload or '"pending"' in payload or '"paused"' in payload:
                    self._claimer.look_again()

    async def _shut_down(self) -> None:
        """Report what was read, return what was not; bounded, whatever hangs."""
        with suppress(TimeoutError):
            self._cached_flags.flush_now()
            async with asyncio.timeout(self._settings.shutdown_timeout / 2):
                await asyncio.to_thread(self._pool.close, self._settings.shutdown_timeout / 4)
                self._reporter.collect()
                await self._retries.attempt(self._reporter.report)
                await self._retries.attempt(self._lease.end)
                await self._cached_flags.wait_until_drained()
        if ended := self._in_flight.ended:
            log.warning("worker: %d files that were read are not reported, and read again", ended)
        if owed := self._cached_flags.owed:
            log.warning("worker: %d files that were read are not marked as cached", owed)
