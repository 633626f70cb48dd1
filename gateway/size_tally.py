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
Key = tuple[str, bool]


@dataclass(slots=True)
class _Entry:
    """A sum that runs, or has run: while it runs there is nothing fresher to be had."""

    sizes: asyncio.Future[Sizes]
    expires_at: float = math.inf


class SizeTally:
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
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()

    async def get(self, job_id: str, is_settled: bool) -> Sizes:
        """The sums of a job: (completed bytes, failed bytes)."""
        key = (job_id, is_settled)
        entry = self._entries.get(key)
        if entry is None or entry.expires_at <= self._clock():
            entry = self._start(key)
        # Shielded: one caller who hangs up must not cancel the count for the others.
        return await asyncio.shield(entry.sizes)

    def _start(self, key: Key) -> _Entry:
        entry = _Entry(asyncio.ensure_future(self._count(key[0])))
        entry.sizes.add_done_callback(lambda _sizes: self._settle(key, entry))
        self._entries.pop(key, None)
        self._entries[key] = entry
        self._forget_oldest()
        return entry

    def _settle(self, key: Key, entry: _Entry) -> None:
        """Let a sum grow old from now on; one that failed is forgotten."""
        # Looked at, so that it is not reported where everybody who asked has hung up.
        failed = entry.sizes.cancelled() or entry.sizes.exception() is not None
        if not failed:
            entry.expires_at = math.inf if key[1] else self._clock() + FRESH_SECONDS
        elif self._entries.get(key) is entry:
            del self._entries[key]

    def _forget_oldest(self) -> None:
        # One that runs is kept: whoever asks next would begin it a second time.
        excess = len(self._entries) - REMEMBERED_JOBS
        if excess > 0:
            done = [key for key, entry in self._entries.items() if entry.sizes.done()]
            for key in done[:excess]:
                del self._entries[key]
