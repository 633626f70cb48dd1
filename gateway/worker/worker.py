"""The worker: claims items, has them read, reports, finishes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

from gateway.database import Database
from gateway.errors import GatewayError
from gateway.jobs import JobStatus
from gateway.settings import Settings
from gateway.worker.file_source import FileSource
from gateway.worker.item_store import ItemStore
from gateway.worker.ledger import Ledger
from gateway.worker.reader_pool import ReaderPool
from gateway.worker.schedule import CHECK_SECONDS, Schedule

log = logging.getLogger(__name__)

JOBS_CHANNEL = "teamcache_gateway_jobs"

# New jobs are announced by the database; this is for announcements that were lost, in seconds.
IDLE_SECONDS = 5.0
# Outcomes are gathered for this long, in seconds, so that they are reported in batches.
GATHER_SECONDS = 0.02
# A job with nothing left to claim is looked at more closely after this long, in seconds.
EXHAUSTED_SECONDS = 10.0
# How long to wait after the database failed, in seconds.
RETRY_SECONDS = 1.0


class Worker:
    """Reads the files of cache jobs through the mount. Several workers may share a job.

    Active jobs get equal shares of what is claimed, so that a small one need not wait for a huge
    one. ``is_alone``: no other worker can be alive, whatever their leases say. ``source`` stands
    in for the real files.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        is_alone: bool = False,
        source: FileSource | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._is_alone = is_alone
        self._source = source
        self._items = ItemStore(database, settings.worker_lease)
        self._ledger = Ledger()
        self._schedule = Schedule(settings)
        self._awake = asyncio.Event()
        self._exhausted_since: dict[str, float] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._pool: ReaderPool | None = None

    @property
    def is_busy(self) -> bool:
        """Whether it has files to read, or to report."""
        return len(self._ledger) > 0

    @property
    def bytes_read(self) -> int:
        """Bytes read since the start; it only rises."""
        return self._pool.bytes_read if self._pool else 0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; then give back what is not read, within the shutdown time."""
        pool = self._pool = self._start_pool()
        async with (
            _beside(self._keep_lease()),
            _beside(self._listen()),
            _beside(self._wake_on(stop)),
        ):
            while not stop.is_set():
                await self._survive(self._turn(pool))
                await self._rest(pool)
        await self._shut_down(pool)

    def _start_pool(self) -> ReaderPool:
        loop = asyncio.get_running_loop()
        return ReaderPool(
            self._settings.container_mount_point,
            concurrency=self._settings.worker_concurrency,
            chunk_size=self._settings.worker_chunk_size,
            read_timeout=self._settings.worker_read_timeout,
            on_outcomes=partial(_set_from_thread, loop, self._awake),
            source=self._source,
        )

    async def _turn(self, pool: ReaderPool) -> None:
        """One round: stop, collect, report, claim."""
        if self._schedule.is_check_due():
            pool.check_stalled()
            self._ledger.stop(await self._items.stopped_jobs(list(self._ledger.jobs)))
        self._collect(pool)
        if self._schedule.is_report_due(self._ledger.ended, is_idle=not pool.unfinished):
            await self._report()
        if self._items.has_lease and (room := self._schedule.room(pool.unfinished)):
            await self._claim(pool, room)

    async def _rest(self, pool: ReaderPool) -> None:
        """Sleep until something happens."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_SECONDS if len(self._ledger) else IDLE_SECONDS):
                await self._awake.wait()
        self._awake.clear()
        if pool.unfinished:
            await asyncio.sleep(GATHER_SECONDS)

    async def _survive(self, work: Coroutine[None, None, None]) -> None:
        """A database that is away ends no read: what is owed to it is kept, and tried again."""
        try:
            await work
        except GatewayError as error:
            log.warning("worker: %s", error.message)
            await asyncio.sleep(RETRY_SECONDS)
        except Exception:
            log.exception("worker: a round failed")
            await asyncio.sleep(RETRY_SECONDS)

    def _collect(self, pool: ReaderPool) -> None:
        for outcome in pool.drain():
            self._ledger.end(outcome)

    async def _report(self) -> None:
        ended = self._ledger.ended
        for job_id, reports in self._ledger.reports().items():
            status = await self._items.report(job_id, reports)
            self._ledger.settle(reports)
            if status is not None and status.has_ended:
                self._finish(job_id, status)
        self._schedule.reported(ended)

    def _finish(self, job_id: str, status: JobStatus) -> None:
        log.info("job %s %s", job_id, status)
        task = asyncio.create_task(self._survive(self._items.mark_cached_directories(job_id)))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _claim(self, pool: ReaderPool, room: int) -> None:
        jobs = await self._items.active_jobs()
        claimed = 0
        for job_id, status in jobs:
            share = max(1, room // len(jobs))
            claimed += await self._claim_from(pool, job_id, status, share)
            if claimed >= room:
                break
        if not claimed:
            self._schedule.found_nothing()
        self._exhausted_since = {
            job_id: self._exhausted_since[job_id]
            for job_id, _ in jobs
            if job_id in self._exhausted_since
        }

    async def _claim_from(
        self, pool: ReaderPool, job_id: str, status: JobStatus, limit: int
    ) -> int:
        items = await self._items.claim(job_id, limit, start=status is JobStatus.PENDING)
        for item in items:
            self._ledger.claim(item.task, item.mark)
            pool.submit(item.task)
        if items:
            self._exhausted_since.pop(job_id, None)
        else:
            await self._look_closer(job_id)
        return len(items)

    async def _look_closer(self, job_id: str) -> None:
        """End a job that has been without anything to claim for a while, if it really is done."""
        now = time.monotonic()
        since = self._exhausted_since.setdefault(job_id, now)
        if now - since >= EXHAUSTED_SECONDS and job_id not in self._ledger.jobs:
            self._exhausted_since[job_id] = now
            await self._items.end_exhausted_job(job_id)

    async def _keep_lease(self) -> None:
        """Be a worker, and give back what others held who are no more."""
        while True:
            await self._survive(self._renew_lease())
            await asyncio.sleep(self._settings.worker_lease / 3)

    async def _renew_lease(self) -> None:
        if not self._items.has_lease:
            await self._items.take_lease()
            self._awake.set()
        elif not await self._items.renew_lease():
            log.warning("worker: the lease was lost, what was being read is left to others")
            self._ledger.give_up()
            await self._items.take_lease()
        if returned := await self._items.give_back_expired(everybody=self._is_alone):
            log.warning("worker: %d files came back from a worker that died", returned)
            self._announce()

    async def _listen(self) -> None:
        while True:
            await self._survive(self._follow_announcements())

    async def _follow_announcements(self) -> None:
        async with aclosing(self._database.listen(JOBS_CHANNEL)) as announcements:
            async for _channel, payload in announcements:
                # Progress is announced too, mostly our own: only a pending job means work.
                if not payload or '"pending"' in payload:
                    self._announce()

    def _announce(self) -> None:
        self._schedule.look_again()
        self._awake.set()

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._awake.set()

    async def _shut_down(self, pool: ReaderPool) -> None:
        """Write what was read, give back what was not; bounded, whatever hangs."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.shutdown_timeout):
                await asyncio.to_thread(pool.close, self._settings.shutdown_timeout / 4)
                self._collect(pool)
                await self._survive(self._settle())
                await asyncio.gather(*self._background)

    async def _settle(self) -> None:
        unfinished: Sequence[int] = self._ledger.unfinished()
        await self._report()
        await self._items.give_back(unfinished)
        await self._items.end_lease()


def _set_from_thread(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run something for as long as the context lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
