"""Pending items that can be read: all of them, or those of the filespaces that are not held up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from gateway.worker.in_flight import ClaimedItem
from gateway.worker.item_store import ItemStore

# Items that were passed over may have been read and returned since: look at them again after this
# many seconds.
AGAIN_SECONDS: Final = 30.0


class ReadableItems:
    """Claims items of jobs from the filespaces that can be read.

    While all ``roots`` can be read, that is any item. Else a job's items are looked through in
    their order, a window at a time, and the position is kept: a million files of a mount that is
    gone are looked at once in a while, and not at each claim.
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
        self._positions: dict[str, int] = {}
        self._exhausted: set[str] = set()
        self.has_more = False
        """Whether a claim of this round found nothing, but did not come to the job's end."""

    def begin_round(self, readable: Sequence[str]) -> None:
        """From now on claim what is below these roots."""
        self.has_more = False
        is_old = self._clock() - self._since >= AGAIN_SECONDS
        if is_old or tuple(readable) != self._readable:
            self._readable = tuple(readable)
            self._since = self._clock()
            self._positions.clear()
            self._exhausted.clear()

    @property
    def are_all(self) -> bool:
        """Whether every filespace can be read."""
        return self._readable == self._roots

    async def active_jobs(self) -> Sequence[str]:
        """The ids of jobs that may have something to claim, oldest first."""
        return await self._items.active_jobs(self._exhausted)

    async def claim(self, job_id: str, limit: int) -> Sequence[ClaimedItem]:
        """Claim up to ``limit`` pending items of a job."""
        if self.are_all:
            return await self._items.claim(job_id, limit)
        prefixes = [root.rstrip("/") + "/" for root in self._readable]
        after = self._positions.get(job_id, 0)
        window = await self._items.pending_below(job_id, prefixes, after, limit)
        claimed: Sequence[ClaimedItem] = []
        if window.items:
            claimed = await self._items.claim(job_id, limit, window.items)
        self._positions[job_id] = window.last
        if window.is_end:
            self._exhausted.add(job_id)
        elif not claimed:
            self.has_more = True
        return claimed
