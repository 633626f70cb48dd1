"""The read limit of all workers: a row of the database, announced when it changes."""

from __future__ import annotations

import logging
from typing import Final

from gateway.database import Database
from gateway.database.sql import load_queries
from gateway.worker.readers.throttle import Throttle

THROTTLE_CHANNEL: Final = "teamcache_gateway_throttle"

log = logging.getLogger(__name__)


class ThrottleStore:
    """Reads and writes the row. Raises `DatabaseUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = load_queries("throttle")

    async def read(self) -> int | None:
        """The limit of each worker in bytes per second; 0: none; None: its own setting counts."""
        row = await self._database.fetch_one(self._queries["read_throttle"])
        return None if row is None else int(row.bytes_per_second)

    async def write(self, bytes_per_second: int | None) -> None:
        """Set the limit, or clear it (None: the workers' settings count), and announce it."""
        query = "clear_throttle" if bytes_per_second is None else "set_throttle"
        parameters = {"bytes_per_second": bytes_per_second, "channel": THROTTLE_CHANNEL}
        await self._database.fetch(self._queries[query], parameters)


class ThrottleSync:
    """Sets a worker's throttle to the limit in the row, or else to its own setting."""

    def __init__(self, store: ThrottleStore, bytes_per_second: int) -> None:
        self.throttle = Throttle(bytes_per_second)
        self.is_known = False
        """Whether the row was read: before that the limit is unknown."""
        self._store = store
        self._own = bytes_per_second

    async def refresh(self) -> None:
        """Read the row, and log the limit if it has changed. Raises as `ThrottleStore` does."""
        row = await self._store.read()
        limit = self._own if row is None else row
        if limit != self.throttle.bytes_per_second or (limit and not self.is_known):
            log.info("reading %s", describe_limit(limit))
        if limit != self.throttle.bytes_per_second:
            self.throttle.set(limit)
        self.is_known = True


def describe_limit(bytes_per_second: int) -> str:
    """The limit in words."""
    if not bytes_per_second:
        return "without a limit"
    return f"at most {bytes_per_second:,} bytes per second"
