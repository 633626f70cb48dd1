"""Claims items of the active jobs, as many as the readers need."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from gateway.runtime.tasks import wait_for_event
from gateway.worker.deferred_errors import DeferredErrors
from gateway.worker.fair_share import FairShareScheduler, fair_share, interleave
from gateway.worker.in_flight import InFlightTable
from gateway.worker.item_store import ItemStore
from gateway.worker.pacing import Pacing
from gateway.worker.readable_items import ReadableItems
from gateway.worker.readers.pools import ReaderPools
from gateway.worker.readers.read_task import ReadTask
from gateway.worker.reporter import Reporter


class Claimer:
    """Gives active jobs equal shares of what is claimed: a small job does not wait for a huge one.

    Wakes ``reporter`` when there is something new whose progress it reports.
    """

    def __init__(
        self,
        items: ItemStore,
        in_flight: InFlightTable,
        pool: ReaderPools,
        pacing: Pacing,
        reporter: Reporter,
    ) -> None:
        self._readable = ReadableItems(items, pool.roots)
        self._in_flight = in_flight
        self._pool = pool
        self._pacing = pacing
        self._reporter = reporter
        self._scheduler = FairShareScheduler()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be room for more: end the rest."""
        self._woken.set()

    def look_again(self) -> None:
        """There is something to claim: end the rest, and claim at once."""
        self._pacing.look_again()
        self.wake()

    async def rest(self) -> None:
        """Sleep until there may be something to claim, or room for it."""
        seconds = self._pacing.seconds_until_claim(
            is_idle=not self._in_flight, moving=self._pool.moving
        )
        await wait_for_event(self._woken, seconds)
        self._woken.clear()

    async def refill(self) -> None:
        """Claim until the readers have enough, or nothing is left.

        Raises `DatabaseUnavailable` after all jobs were tried.
        """
        errors = DeferredErrors()
        while room := self._room():
            # What cannot be read here may be read by other workers.
            if not (self._pool.readable and await self._claim(room, errors)):
                break
        errors.raise_first()

    def _room(self) -> int:
        # While a report takes long, outcomes that are not collected yet count, too.
        unreported = len(self._in_flight) - self._pool.unfinished
        return self._pacing.claim_size(self._pool.moving_places, unreported)

    async def _claim(self, room: int, errors: DeferredErrors) -> bool:
        """Claim once from each job; whether there may be more."""
        self._readable.begin_round(self._pool.readable)
        held = self._held()
        jobs = self._scheduler.order(await self._readable.active_jobs(), held)
        counts = [held.get(job_id, 0) for job_id in jobs]
        batches: list[Sequence[ReadTask]] = []
        try:
            for position, job_id in enumerate(jobs):
                limit = fair_share(counts[position:], room)
                if limit <= 0:
                    break
                self._scheduler.took(job_id)
                batches.append(await errors.add(self._claim_from(job_id, limit)) or [])
                room -= len(batches[-1])
        finally:
            self._pool.submit(*interleave(batches))
            self._reporter.wake()
        if any(batches) or self._readable.has_more:
            return True
        self._pacing.found_nothing()
        return False

    def _held(self) -> Mapping[str, int]:
        """The number of unread items by job; those of a filespace that is held up do not count."""
        if self._readable.are_all:
            return self._in_flight.unread
        return self._in_flight.unread_among(self._pool.is_moving)

    async def _claim_from(self, job_id: str, limit: int) -> Sequence[ReadTask]:
        claimed = await self._readable.claim(job_id, limit)
        for item in claimed:
            self._in_flight.claim(item.task, item.reported_bytes)
        return [item.task for item in claimed]
