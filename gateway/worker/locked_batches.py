"""Files that are read while row locks keep them for us, a batch at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Self

from gateway.errors import GatewayError
from gateway.job import JobStatus
from gateway.logs.fault_log import FaultLog
from gateway.runtime.tasks import cancel_and_wait
from gateway.worker.batch_backoff import MOST_BATCHES, BatchPace
from gateway.worker.in_flight import Batch, InFlightTable, ItemReport
from gateway.worker.item_store import LockedItems, Small
from gateway.worker.readers.read_task import ReadTask
from gateway.worker.readers.small_file_queue import SMALL_SIZE

log = logging.getLogger(__name__)

SMALL: Final = Small(items=2048, size=SMALL_SIZE)
# Each has a connection while it is under way; others need some, too.
LEAST_CONNECTIONS: Final = 2 * MOST_BATCHES
# The locks last so long at most, in seconds: what is not read by then is claimed. PostgreSQL looks
# for deadlocks after a second; whoever waits for our locks has them before.
LONGEST_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 0.05
# So often it is tried to lock the job's row, so many seconds apart.
JOB_ATTEMPTS: Final = 10
JOB_SECONDS: Final = 0.02


class LockedBatches:
    """The batches under way, each with a task that reports on it when all of it is read.

    ``is_quick`` tells of a path whether its files come as quickly as locks need it. ``collect``
    enters into the ledger what has been read; ``on_report`` gets the job, what was reported of it,
    and its state then; ``on_end`` is called when there is room again.
    """

    def __init__(
        self,
        in_flight: InFlightTable,
        *,
        is_quick: Callable[[str], bool],
        collect: Callable[[], None],
        on_report: Callable[[str, Sequence[ItemReport], JobStatus | None], None],
        on_end: Callable[[], None],
        outage: FaultLog,
    ) -> None:
        self._in_flight = in_flight
        self._is_quick = is_quick
        self._collect = collect
        self._on_report = on_report
        self._on_end = on_end
        self._faults = outage
        self._pace = BatchPace()
        self._tasks: set[asyncio.Task[None]] = set()
        # One report at a time: each sees what the one before has written.
        self._turn = asyncio.Lock()
        self._is_closing = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await asyncio.sleep(0)  # each of them has begun, and ends its transaction
        for task in tuple(self._tasks):
            await cancel_and_wait(task)

    @property
    def are_under_way(self) -> bool:
        """Whether there are as many as may be, which are over soon."""
        return 0 < self._pace.most <= len(self._tasks)

    @property
    def wanted(self) -> Small | None:
        """What another batch would be of; None while there is to be none."""
        return None if self._is_closing or len(self._tasks) >= self._pace.most else SMALL

    def add(self, locked: LockedItems) -> Sequence[ReadTask]:
        """Enter a batch into the ledger; returns what is to be read."""
        batch = self._in_flight.claim_batch(locked.items)
        task = asyncio.create_task(self._follow(locked, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return [item.task for item in locked.items]

    def refuse(self) -> None:
        """Files were claimed instead: not all of them were small."""
        self._pace.refuse()

    async def close(self) -> None:
        """Report what is read by now; the rest goes back. When no more is read."""
        self._is_closing = True
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _follow(self, locked: LockedItems, batch: Batch) -> None:
        name = type(self).__name__
        is_whole = False
        try:
            async with locked:
                await self._wait(locked, batch)
                async with self._turn:
                    is_whole = await self._settle(locked, batch)
        except GatewayError as error:
            cause = f" ({len(batch)} files are read again: {str(error.__cause__).strip()})"
            self._faults.begin(name, f"worker: {error.message}", cause)
        except Exception:
            log.exception("job %s: %d files are read again", locked.job_id, len(batch))
        else:
            self._faults.end(name)
        finally:
            (self._pace.succeed if is_whole else self._pace.fail)()
            self._in_flight.discard(batch)
            self._on_end()

    async def _wait(self, locked: LockedItems, batch: Batch) -> None:
        """Until all of it is read, but not for long, nor where files are waited for."""
        path = locked.items[0].task.path
        until = time.monotonic() + LONGEST_SECONDS
        while self._is_quick(path) and not self._is_closing and time.monotonic() < until:
            if await batch.is_read_within(LOOK_SECONDS):
                return

    async def _settle(self, locked: LockedItems, batch: Batch) -> bool:
        """Report a batch, and claim what is left of it; whether nothing was."""
        if not await self._lock_job(locked):
            # Whoever has the job may want its items next. The report waits, without them.
            await locked.claim()
            self._in_flight.detach(batch)
            return False
        self._collect()
        reports = self._in_flight.batch_reports(batch)
        ended = [report for report in reports if report.status != "running"]
        # What is not read at the end is left as it was.
        reports = ended if self._is_closing else reports
        if not reports:
            return False
        status = await locked.report(reports)
        self._in_flight.acknowledge(reports)
        self._on_report(locked.job_id, reports, status)
        return len(ended) == len(batch)

    async def _lock_job(self, locked: LockedItems) -> bool:
        for _ in range(JOB_ATTEMPTS):
            if await locked.lock_job():
                return True
            await asyncio.sleep(JOB_SECONDS)
        return False
