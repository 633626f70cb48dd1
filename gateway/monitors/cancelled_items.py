"""Lets the items of cancelled jobs follow, in batches, after the job's state is committed."""

from __future__ import annotations

import asyncio

from gateway.database.readiness import Readiness
from gateway.jobs.store import JobStore
from gateway.monitors.loop import Monitor

# Where others hold items it is looked again after so many seconds.
AGAIN_SECONDS = 1.0


class CancelItemsMonitor(Monitor):
    """Woken by each cancel; by itself it finds what a gateway that died left half done."""

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
        # What is locked was passed over: a worker reads it, and may die before it is done.
        is_left = await self._job_store.cancelled_with_pending_items()
        self.interval = AGAIN_SECONDS if is_left else type(self).interval
        return False
