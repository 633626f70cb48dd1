"""Files that are read while row locks keep them for us, a batch at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Self

from gateway.errors import GatewayError
from gateway.jobs import JobStatus
from gateway.tasks import end
from gateway.worker.express_lane import SMALL_SIZE
from gateway.worker.item_store import LockedItems, Small
from gateway.worker.ledger import Batch, ItemReport, Ledger
from gateway.worker.read_task import ReadTask

log = logging.getLogger(__name__)

# While one is read, one is reported, and the next is there already.
MOST_BATCHES: Final = 3
SMALL: Final = Small(items=2048, size=SMALL_SIZE)
# Each has a connection while it is under way; others need some, too.
LEAST_CONNECTIONS: Final = 2 * MOST_BATCHES
# Where files were not small it is tried again so much later, in seconds.
AGAIN_SECONDS: Final = 1.0
# The locks last so long at most, in seconds: what is not read by then is claimed.
LONGEST_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.05


class LockedBatches:
    """The batches under way, each with a task that reports on it when all of it is read.

    ``is_quick`` tells whether files come as quickly as locks need it. ``on_report`` gets the job,
    what was reported of it, and its state then; ``on_end`` is called when there is room again.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        is_quick: Callable[[], bool],
        on_report: Callable[[str, Sequence[ItemReport], JobStatus | None], None],
        on_end: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._is_quick = is_quick
        self._on_report = on_report
        self._on_end = on_end
        self._tasks: set[asyncio.Task[None]] = set()
        self._again_at = 0.0
        self._is_closing = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        for task in tuple(self._tasks):
            await end(task)

    @property
    def is_full(self) -> bool:
        """Whether there are as many as are of use: one of them is over soon."""
        return len(self._tasks) >= MOST_BATCHES

    @property
    def wanted(self) -> Small | None:
        """What another batch would be of; None while there is to be none."""
        may_begin = self._is_quick() and not self.is_full and not self._is_closing
        return SMALL if may_begin and time.monotonic() >= self._again_at else None

    def add(self, locked: LockedItems) -> Sequence[ReadTask]:
        """Enter a batch into the ledger; returns what is to be read."""
        batch = self._ledger.claim_batch(locked.items)
        task = asyncio.create_task(self._follow(locked, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return [item.task for item in locked.items]

    def refuse(self) -> None:
        """Files were claimed instead: not all of them were small."""
        self._again_at = time.monotonic() + AGAIN_SECONDS

    async def close(self) -> None:
        """Report what is read by now; the rest goes back. When no more is read."""
        self._is_closing = True
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _follow(self, locked: LockedItems, batch: Batch) -> None:
        try:
            async with locked:
                await self._wait(batch)
                reports = self._ledger.batch_reports(batch)
                if self._is_closing:
                    reports = [report for report in reports if report.status != "running"]
                status = await locked.report(reports) if reports else None
            self._ledger.settle(reports)
            self._on_report(locked.job_id, reports, status)
        except GatewayError as error:
            cause = str(error.__cause__).strip()
            log.warning("job %s: %d files are read again: %s", locked.job_id, len(batch), cause)
        except Exception:
            log.exception("job %s: %d files are read again", locked.job_id, len(batch))
        finally:
            self._ledger.drop(batch)
            self._on_end()

    async def _wait(self, batch: Batch) -> None:
        until = time.monotonic() + LONGEST_SECONDS
        while self._is_quick() and not self._is_closing and time.monotonic() < until:
            if await batch.is_read_within(LOOK_SECONDS):
                return
