"""Jobs that wait to be looked up, because what was notified of them does not say enough."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

LOOK_UP_SECONDS: Final = 1.0

Change = TypeVar("Change")


class DebouncedLookups(Generic[Change]):
    """Looks each job up at most once a second, for the newest of what was notified of it.

    ``tell`` gets the job's id and the newest change, and returns whether it could tell it; what
    it could not is tried again.
    """

    def __init__(self, tell: Callable[[str, Change], Awaitable[bool]]) -> None:
        self._tell = tell
        self._waiting: dict[str, Change] = {}
        self._wanted = asyncio.Event()

    def want(self, job_id: str, change: Change) -> None:
        """Have a change told, in place of an older one of the same job."""
        self._waiting[job_id] = change
        self._wanted.set()

    async def run(self) -> None:
        """Tell what is wanted, until cancelled; what was wanted before is forgotten."""
        self._waiting.clear()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            changes, self._waiting = self._waiting, {}
            for job_id, change in changes.items():
                if not await self._try(job_id, change):
                    self._waiting.setdefault(job_id, change)
                    self._wanted.set()
            await asyncio.sleep(LOOK_UP_SECONDS)

    async def _try(self, job_id: str, change: Change) -> bool:
        try:
            return await self._tell(job_id, change)
        except Exception:
            # The other jobs are still to be told of.
            log.exception("a job could not be told of")
            return True
