"""Cancels the items of cancelled jobs in batches, after the job's status is committed."""

from __future__ import annotations

import asyncio

from gateway.database.readiness import Readiness
from gateway.jobs.store import JobStore
from gateway.monitors.loop import Monitor

# The interval, in seconds, while other transactions hold locks on items.
RETRY_SECONDS = 1.0


class CancelItemsMonitor(Monitor):
    """Woken by each cancel; each interval it also finishes what a crashed gateway left."""

    name = "cancelled-items"
    interval = 60.0

    def __init__(
        self, job_store: JobStore, readiness: Readiness, job_cancelled: asyncio.Event
    ) -> None:
        super().__init__(job_cancelled)
        self._job_store = job_store
        self._readiness = readiness

    async def check_once(self) -> bool:
        """Cancel the pending items of every cancelled job."""
        await self._readiness.wait()
        for job_id in await self._job_store.cancelled_with_pending_items():
            await self._job_store.cancel_items(job_id)
        # Locked items were skipped: a worker reads them, and may die before it is done.
        is_left = await self._job_store.cancelled_with_pending_items()
        self.interval = RETRY_SECONDS if is_left else type(self).interval
        return False
