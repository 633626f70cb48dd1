"""The worker: claims items, has them read, reports, finishes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial

from gateway.database import Database
from gateway.errors import GatewayError
from gateway.job import JOBS_CHANNEL, JobStatus
from gateway.logs.fault_log import FaultLog
from gateway.mount.mount import Mount
from gateway.runtime.tasks import background_task, wait_for_event
from gateway.settings import Settings
from gateway.settings.filespaces import make_filespaces
from gateway.worker.cached_flags import CachedFlagWriter
from gateway.worker.claims import ItemClaimer
from gateway.worker.deferred_errors import DeferredErrors
from gateway.worker.fair_share import FairShareScheduler, fair_share, interleave
from gateway.worker.in_flight import InFlightTable, ItemReport
from gateway.worker.item_store import ItemStore
from gateway.worker.pacing import Pacing
from gateway.worker.readers.file_source import FileSource
from gateway.worker.readers.pools import ReaderPools
from gateway.worker.readers.read_task import ReadTask
from gateway.worker.throttle_store import THROTTLE_CHANNEL, ThrottleStore, ThrottleSync

log = logging.getLogger(__name__)

# New jobs are announced by the database; this is for announcements that were lost, in seconds.
IDLE_SECONDS = 5.0
# Cancelled jobs and hung reads are looked for this often, in seconds.
CHECK_SECONDS = 0.4
# Outcomes are gathered for this long, in seconds, so that they are reported in batches.
GATHER_SECONDS = 0.01
# As long as more files than these are left to read, the stock is looked at again and again.
FEW = 16
# Files reported by one statement: of a long wait not all at once.
REPORTS_PER_STATEMENT = 10_000
# How long to wait after the database failed, in seconds.
RETRY_SECONDS = 1.0


class Worker:
    """Reads the files of cache jobs through the mount. Several workers may share a job.

    Active jobs get equal shares of what is claimed, so that a small one need not wait for a huge
    one. ``is_alone``: as it begins no other worker can be alive, whatever their leases say.
    ``source`` stands in for the real files.
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
        limit = settings.worker_max_bytes_per_second
        self._throttle_sync = ThrottleSync(ThrottleStore(database), limit)
        self._in_flight = InFlightTable()
        self._pacing = Pacing(settings)
        self._cached_flags = CachedFlagWriter(self._items, lambda: self.is_busy)
        self._claimer = ItemClaimer(self._items, settings.mount_points)
        self._scheduler = FairShareScheduler()
        self._to_report = asyncio.Event()
        self._to_claim = asyncio.Event()
        self._drained: set[str] = set()
        self._faults = FaultLog(log, "worker: all is well with the database again")
        self._pool: ReaderPools | None = None

    @property
    def is_busy(self) -> bool:
        """Whether it has files to read, or to report."""
        return len(self._in_flight) > 0

    @property
    def bytes_read(self) -> int:
        """Bytes read since the start; it only rises."""
        return self._pool.bytes_read if self._pool else 0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; then give back what is not read, within the shutdown time."""
        pool = self._pool = self._start_pool()
        # Beside the end too: a statement of its that is cut off holds the rows for a while.
        async with background_task(self._cached_flags.run()):
            await self._work_until(stop, pool)
            await self._shut_down(pool)

    async def _work_until(self, stop: asyncio.Event, pool: ReaderPools) -> None:
        async with (
            background_task(self._look_at_mount()),
            background_task(self._keep_lease()),
            background_task(self._listen()),
            background_task(self._watchdog(pool)),
            background_task(self._poll_cancellations()),
            background_task(self._claim_until(stop, pool)) as claiming,
            background_task(self._report_until(stop, pool)) as reporting,
        ):
            await stop.wait()
            self._wake()
            # A round that waits for a database which does not answer is not waited for.
            await asyncio.wait({claiming, reporting}, timeout=self._settings.shutdown_timeout / 4)

    async def _look_at_mount(self) -> None:
        """Say what is read, and whether there is anything: people forget to mount."""
        mount_points = self._settings.mount_points
        readers = self._settings.worker_concurrency
        log.info("reading %s with %d readers", ", ".join(mount_points), readers)
        visible = await Mount(mount_points).mounted()
        for mount_point in mount_points:
            if mount_point not in visible:
                log.warning("%s is no directory with something in it", mount_point)

    async def _report_until(self, stop: asyncio.Event, pool: ReaderPools) -> None:
        """Report beside claims: else readers would run out of work whenever a report takes long."""
        while not stop.is_set():
            await self._retry_on_error(self._report_if_due(pool))
            await self._rest_from_reports(pool)

    async def _claim_until(self, stop: asyncio.Event, pool: ReaderPools) -> None:
        while not stop.is_set():
            await self._retry_on_error(self._refill(pool))
            await self._rest_from_claims(pool)

    def _start_pool(self) -> ReaderPools:
        loop = asyncio.get_running_loop()
        return ReaderPools(
            self._settings.mount_points,
            concurrency=self._settings.worker_concurrency,
            chunk_size=self._settings.worker_chunk_size,
            read_timeout=self._settings.worker_read_timeout,
            on_outcomes=partial(loop.call_soon_threadsafe, self._wake),
            source=self._source,
            allowed=make_filespaces(self._settings).allowed_prefixes,
            throttle=self._throttle_sync.throttle,
        )

    async def _report_if_due(self, pool: ReaderPools) -> None:
        self._collect()
        if self._pacing.is_report_due(self._in_flight.ended, is_idle=not pool.moving):
            await self._report()

    async def _refill(self, pool: ReaderPools) -> None:
        if not self._items.has_lease or not self._throttle_sync.is_known:
            return
        if self._pacing.is_tidying_due():
            await self._housekeeping()
        attempts = DeferredErrors()
        while room := self._room(pool):
            # What cannot be read here may be read by others.
            if not (pool.readable and await self._claim(pool, room, attempts)):
                break
        attempts.raise_failure()

    def _room(self, pool: ReaderPools) -> int:
        # Also what has ended and is not collected, as long as a report takes.
        owed = len(self._in_flight) - pool.unfinished
        return self._pacing.claim_size(pool.moving_places, owed)

    async def _watchdog(self, pool: ReaderPools) -> None:
        """Let go of what hangs; never behind a statement, which may hang, too."""
        while True:
            await self._retry_on_error(self._abandon_hung(pool))
            await asyncio.sleep(CHECK_SECONDS)

    async def _abandon_hung(self, pool: ReaderPools) -> None:
        pool.check_stalled()

    async def _poll_cancellations(self) -> None:
        """Stop reading what is cancelled; never behind a slow report or claim."""
        while True:
            await self._retry_on_error(self._stop_reads())
            await asyncio.sleep(CHECK_SECONDS)

    async def _stop_reads(self) -> None:
        self._in_flight.stop(await self._items.stopped_jobs(list(self._in_flight.jobs)))

    async def _rest_from_reports(self, pool: ReaderPools) -> None:
        """Sleep until something has ended, or the progress of what is read is due."""
        busy = self._pacing.seconds_until_report()
        await _wait(self._to_report, busy if len(self._in_flight) else IDLE_SECONDS)
        if pool.unfinished:
            # Not beyond the last of them: nothing more would come.
            await _wait(self._to_report, GATHER_SECONDS)

    async def _rest_from_claims(self, pool: ReaderPools) -> None:
        """Sleep until there may be something to claim, or room for it."""
        # As long as outcomes come, they wake us; but not while a report is under way.
        busy = GATHER_SECONDS if pool.moving > FEW else CHECK_SECONDS
        await _wait(self._to_claim, busy if len(self._in_flight) else IDLE_SECONDS)

    async def _retry_on_error(self, work: Coroutine[None, None, None]) -> bool:
        """A database that is away ends no read: what is owed to it is kept, and tried again.

        False if the work failed, after a rest.
        """
        name = getattr(work, "__name__", "")
        try:
            await work
        except GatewayError as error:
            cause = f" ({str(error.__cause__).strip()})"
            self._faults.begin(name, f"worker: {error.message}", cause)
        except Exception:
            log.exception("worker: a round failed")
        else:
            self._faults.end(name)
            return True
        await asyncio.sleep(RETRY_SECONDS)
        return False

    def _collect(self) -> None:
        for outcome in self._pool.drain() if self._pool else ():
            self._in_flight.end(outcome)

    async def _report(self) -> None:
        ended = self._in_flight.ended
        attempts = DeferredErrors()
        for job_id, reports in self._in_flight.reports().items():
            for start in range(0, len(reports), REPORTS_PER_STATEMENT):
                part = reports[start : start + REPORTS_PER_STATEMENT]
                await attempts.add(self._report_job(job_id, part))
        self._pacing.reported(ended - self._in_flight.ended)
        attempts.raise_failure()

    async def _report_job(self, job_id: str, reports: Sequence[ItemReport]) -> None:
        status = await self._items.report(job_id, reports)
        self._in_flight.acknowledge(reports)
        self._note_reported(job_id, reports, status)

    def _note_reported(
        self, job_id: str, reports: Sequence[ItemReport], status: JobStatus | None
    ) -> None:
        self._cached_flags.add(job_id, [r.task.item_id for r in reports if r.status == "completed"])
        _tell_failures(job_id, [r for r in reports if r.status == "failed"])
        if status is not None and status.has_ended:
            log.info("job %s %s", job_id, status)
            self._cached_flags.end(job_id)

    async def _claim(self, pool: ReaderPools, room: int, attempts: DeferredErrors) -> bool:
        """Whether to go on: there may be more, and there may be room for it."""
        self._claimer.look_for(pool.readable)
        held = self._held(pool)
        jobs = self._scheduler.order(await self._claimer.active_jobs(), held)
        counts = [held.get(job_id, 0) for job_id in jobs]
        batches: list[Sequence[ReadTask]] = []
        try:
            for position, job_id in enumerate(jobs):
                limit = fair_share(counts[position:], room)
                if limit <= 0:
                    break
                self._scheduler.took(job_id)
                batches.append(await attempts.add(self._claim_from(job_id, limit)) or [])
                room -= len(batches[-1])
        finally:
            pool.submit(*interleave(batches))
            # From now on there is progress to tell of.
            self._to_report.set()
        if not any(batches) and not self._claimer.has_more:
            self._pacing.found_nothing()
            return False
        return True

    def _held(self, pool: ReaderPools) -> Mapping[str, int]:
        """How many items of each job we hold; what is held up takes nothing from its share."""
        if self._claimer.is_of_all:
            return self._in_flight.unread
        return self._in_flight.unread_among(pool.is_moving)

    async def _claim_from(self, job_id: str, limit: int) -> Sequence[ReadTask]:
        claimed = await self._claimer.claim(job_id, limit)
        for item in claimed:
            self._in_flight.claim(item.task, item.reported_bytes)
        return [item.task for item in claimed]

    async def _housekeeping(self) -> None:
        """Give back what a lost answer left in our name, end jobs that did not notice their end."""
        if orphans := await self._items.reclaim_orphans(self._in_flight.items):
            log.warning("worker: %d files came back whose claim was not answered", orphans)
            self._announce()
        exhausted = set(await self._items.drained_jobs())
        # Seen twice: a backend that has just read the last file may yet end its job itself.
        for job_id in exhausted & self._drained:
            if await self._items.finish_drained_job(job_id):
                log.warning("job %s had nothing left and was ended", job_id)
                self._cached_flags.end(job_id)
        self._drained = exhausted
        for job_id in await self._items.jobs_with_unset_flags():
            self._cached_flags.end(job_id)

    async def _keep_lease(self) -> None:
        """Be a worker, and give back what others held who are no more."""
        while True:
            if await self._retry_on_error(self._renew_lease()):
                await asyncio.sleep(self._settings.worker_lease / 3)

    async def _renew_lease(self) -> None:
        if not self._items.has_lease:
            await self._items.take_lease()
            self._wake()
        elif not await self._items.renew_lease():
            log.warning("worker: the lease was lost, what was being read is left to others")
            self._in_flight.give_up()
            await self._items.end_lease()
            await self._items.take_lease()
        if returned := await self._items.reclaim_expired_leases(everybody=self._is_alone):
            log.warning("worker: %d files came back from a worker that died", returned)
            self._announce()
        # Whoever is here from now on may have come after us, and has a lease that tells.
        self._is_alone = False

    async def _listen(self) -> None:
        while True:
            await self._retry_on_error(self._follow_announcements())

    async def _follow_announcements(self) -> None:
        channels = (JOBS_CHANNEL, THROTTLE_CHANNEL)
        async with aclosing(self._database.listen(*channels)) as announcements:
            async for channel, payload in announcements:
                if channel != JOBS_CHANNEL:
                    await self._throttle_sync.refresh()
                self._faults.end(self._follow_announcements.__name__)
                # Progress is announced too, mostly our own: a job means work if it is pending, or
                # is or was paused.
                if not payload or '"pending"' in payload or '"paused"' in payload:
                    self._announce()

    def _announce(self) -> None:
        self._pacing.look_again()
        self._to_claim.set()

    def _wake(self) -> None:
        self._to_report.set()
        self._to_claim.set()

    async def _shut_down(self, pool: ReaderPools) -> None:
        """Write what was read, give back what was not; bounded, whatever hangs."""
        with suppress(TimeoutError):
            self._cached_flags.flush_now()
            async with asyncio.timeout(self._settings.shutdown_timeout / 2):
                await asyncio.to_thread(pool.close, self._settings.shutdown_timeout / 4)
                self._collect()
                await self._retry_on_error(self._report())
                if self._items.has_lease:
                    await self._retry_on_error(self._items.end_lease())
                await self._cached_flags.wait_until_drained()
        if ended := self._in_flight.ended:
            log.warning("worker: %d files that were read are not reported, and read again", ended)
        if owed := self._cached_flags.owed:
            log.warning("worker: %d files that were read are not marked as cached", owed)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    await wait_for_event(event, seconds)
    event.clear()


def _tell_failures(job_id: str, failed: Sequence[ItemReport]) -> None:
    if failed:
        path, error = failed[0].task.path, failed[0].error
        log.warning("job %s: %d files failed, the first: %r: %s", job_id, len(failed), path, error)
