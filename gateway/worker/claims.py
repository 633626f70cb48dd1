"""What is claimed: any item, or, as long as a filespace is held up, those of the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from gateway.worker.in_flight import ClaimedItem
from gateway.worker.item_store import ItemStore

# What was passed is looked at again after so many seconds: it may have come back to be claimed.
AGAIN_SECONDS: Final = 30.0


class ItemClaimer:
    """Claims items of jobs from the filespaces that can be read.

    While all can be, that is any item. Else a job's items are passed one after the other, so many
    at a time, and where that was is remembered: a million files of a mount that is gone are looked
    at once in a while, and not at each claim.
    """

    def __init__(
        self,
        items: ItemStore,
        roots: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._items = items
        self._roots = tuple(roots)
        self._readable = self._roots
        self._clock = clock
        self._since = clock()
        self._passed: dict[str, int] = {}
        self._exhausted: set[str] = set()
        self.has_more = False
        """Whether a claim of the last round came to no end, though it found nothing."""

    def look_for(self, readable: Sequence[str]) -> None:
        """Begin a round: from now on claim what lies below these roots."""
        self.has_more = False
        is_old = self._clock() - self._since >= AGAIN_SECONDS
        if is_old or tuple(readable) != self._readable:
            self._readable = tuple(readable)
            self._since = self._clock()
            self._passed.clear()
            self._exhausted.clear()

    @property
    def is_of_all(self) -> bool:
        """Whether every filespace can be read."""
        return self._readable == self._roots

    async def active_jobs(self) -> Sequence[str]:
        """The ids of jobs that may have something to claim, oldest first."""
        return await self._items.active_jobs(self._exhausted)

    async def claim(self, job_id: str, limit: int) -> Sequence[ClaimedItem]:
        """Claim up to ``limit`` pending items of a job."""
        if self.is_of_all:
            return await self._items.claim(job_id, limit)
        prefixes = [root.rstrip("/") + "/" for root in self._readable]
        after = self._passed.get(job_id, 0)
        passage = await self._items.pending_below(job_id, prefixes, after, limit)
        claimed: Sequence[ClaimedItem] = []
        if passage.items:
            claimed = await self._items.claim(job_id, limit, passage.items)
        self._passed[job_id] = passage.last
        if passage.is_end:
            self._exhausted.add(job_id)
        elif not claimed:
            self.has_more = True
        return claimed
