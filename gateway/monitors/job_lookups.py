"""Looks up jobs whose notifications do not hold all that is published."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

LOOK_UP_SECONDS: Final = 1.0

Change = TypeVar("Change")


class DebouncedLookups(Generic[Change]):
    """Looks up each job at most once a second, for its newest change.

    ``publish`` gets the job's id and the newest change, and returns False to be called again.
    """

    def __init__(self, publish: Callable[[str, Change], Awaitable[bool]]) -> None:
        self._publish = publish
        self._waiting: dict[str, Change] = {}
        self._has_waiting = asyncio.Event()

    def schedule(self, job_id: str, change: Change) -> None:
        """Schedule a change for publication; it replaces an older one of the same job."""
        self._waiting[job_id] = change
        self._has_waiting.set()

    async def run(self) -> None:
        """Publish scheduled changes until cancelled; those scheduled before are discarded."""
        self._waiting.clear()
        while True:
            await self._has_waiting.wait()
            self._has_waiting.clear()
            changes, self._waiting = self._waiting, {}
            for job_id, change in changes.items():
                if not await self._try(job_id, change):
                    self._waiting.setdefault(job_id, change)
                    self._has_waiting.set()
            await asyncio.sleep(LOOK_UP_SECONDS)

    async def _try(self, job_id: str, change: Change) -> bool:
        try:
            return await self._publish(job_id, change)
        except Exception:
            # The other jobs still have to be published.
            log.exception("a job could not be published")
            return True
