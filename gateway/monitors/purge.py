"""Lets go of rows that are kept for some hours only: answers of submits, nonces of signatures."""

from __future__ import annotations

from typing import Protocol

from gateway.database.readiness import Readiness
from gateway.monitors.loop import Monitor


class Purgeable(Protocol):
    """A store whose rows grow old."""

    async def purge(self) -> int:
        """Delete what is old; returns how many."""


class PurgeMonitor(Monitor):
    """Looks now and then: what is old does not count any more, whether it is there or not."""

    interval = 600.0

    def __init__(self, name: str, store: Purgeable, readiness: Readiness) -> None:
        super().__init__()
        self.name = name
        self._store = store
        self._readiness = readiness

    async def check_once(self) -> bool:
        """Delete what is old."""
        await self._readiness.wait()
        await self._store.purge()
        return False
