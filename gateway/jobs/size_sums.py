"""Sums of item sizes for jobs whose worker keeps none: at most one query a second and job."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from gateway.runtime.single_flight import SingleFlight

FRESH_SECONDS = 1.0
REMEMBERED_JOBS = 1000

Sizes = tuple[int, int]
Key = tuple[str, bool]


class _Sum(NamedTuple):
    sizes: Sizes
    expires_at: float


class SizeSums:
    """Remembers each job's sums, (completed bytes, failed bytes), for a second after they came.

    The sums of a settled job change no more: they are kept until 1,000 others are asked for.
    However many ask at once, and however long it takes, ``count`` runs once.
    """

    def __init__(
        self,
        count: Callable[[str], Awaitable[Sizes]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._clock = clock
        self._sums: OrderedDict[Key, _Sum] = OrderedDict()
        self._reads = SingleFlight(self._sum_unless_fresh)

    async def get(self, job_id: str, is_settled: bool) -> Sizes:
        """The sums of a job: (completed bytes, failed bytes)."""
        key = (job_id, is_settled)
        return self._peek(key) or await self._reads.get(key)

    def _peek(self, key: Key) -> Sizes | None:
        known = self._sums.get(key)
        return None if known is None or known.expires_at <= self._clock() else known.sizes

    async def _sum_unless_fresh(self, key: Key) -> Sizes:
        """What was summed while these waited will do; a failure is told to nobody else."""
        if known := self._peek(key):
            return known
        job_id, is_settled = key
        sizes = await self._count(job_id)
        expires_at = math.inf if is_settled else self._clock() + FRESH_SECONDS
        self._sums.pop(key, None)
        self._sums[key] = _Sum(sizes, expires_at)
        if len(self._sums) > REMEMBERED_JOBS:
            self._sums.popitem(last=False)
        return sizes
