"""Sums of item sizes for jobs whose worker keeps none: at most one query a second and job."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

FRESH_SECONDS = 1.0
REMEMBERED_JOBS = 1000

Sizes = tuple[int, int]


@dataclass(slots=True)
class _Entry:
    sizes: asyncio.Future[Sizes]
    expires_at: float


class SizeTally:
    """Remembers each job's sums, (completed bytes, failed bytes), for a second.

    The sums of a settled job change no more: they are kept until 1,000 others are asked for.
    However many ask at once, ``count`` runs once.
    """

    def __init__(
        self,
        count: Callable[[str], Awaitable[Sizes]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._clock = clock
        self._entries: OrderedDict[tuple[str, bool], _Entry] = OrderedDict()

    async def get(self, job_id: str, is_settled: bool) -> Sizes:
        """The sums of a job: (completed bytes, failed bytes)."""
        key = (job_id, is_settled)
        entry = self._entries.get(key)
        if entry is None or entry.expires_at <= self._clock():
            entry = self._start(key)
        # Shielded: one caller who hangs up must not cancel the count for the others.
        return await asyncio.shield(entry.sizes)

    def _start(self, key: tuple[str, bool]) -> _Entry:
        lifetime = math.inf if key[1] else FRESH_SECONDS
        entry = _Entry(asyncio.ensure_future(self._counted(key)), self._clock() + lifetime)
        self._entries[key] = entry
        while len(self._entries) > REMEMBERED_JOBS:
            self._entries.popitem(last=False)
        return entry

    async def _counted(self, key: tuple[str, bool]) -> Sizes:
        try:
            return await self._count(key[0])
        except BaseException:
            self._entries.pop(key, None)
            raise
