"""Deletes rows that are kept for some hours only: stored responses, nonces of signatures."""

from __future__ import annotations

from typing import Final

from gateway.database import Database
from gateway.database.readiness import Readiness
from gateway.monitors.loop import Monitor

BATCH: Final = 1000


class PurgeMonitor(Monitor):
    """Runs ``query``, which deletes ``limit`` old rows, until none are left.

    Batch by batch, so that none blocks others for long. An old row has no effect meanwhile.
    """

    interval = 600.0

    def __init__(self, name: str, database: Database, query: str, readiness: Readiness) -> None:
        super().__init__()
        self.name = name
        self._database = database
        self._query = query
        self._readiness = readiness

    async def check_once(self) -> bool:
        """Delete what is old. Raises `DatabaseUnavailable`."""
        await self._readiness.wait()
        deleted = BATCH
        while deleted == BATCH:
            async with self._database.session() as session:
                deleted = await session.execute(self._query, {"limit": BATCH})
        return False
