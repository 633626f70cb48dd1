"""The limit that all workers keep to: a row of the database, announced when it changes."""

from __future__ import annotations

import logging
from typing import Final

from gateway.database import Database
from gateway.database.sql import load_queries
from gateway.worker.readers.throttle import Throttle

THROTTLE_CHANNEL: Final = "teamcache_gateway_throttle"

log = logging.getLogger(__name__)


class ThrottleStore:
    """Verbs on the row. Raises `DatabaseUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = load_queries("throttle")

    async def read(self) -> int | None:
        """The limit in bytes per second and worker, 0: none; None: each worker's setting counts."""
        row = await self._database.fetch_one(self._queries["read_throttle"])
        return None if row is None else int(row.bytes_per_second)

    async def write(self, bytes_per_second: int | None) -> None:
        """Set the limit, or give it back to the workers' settings (None), and announce it."""
        query = "clear_throttle" if bytes_per_second is None else "set_throttle"
        parameters = {"bytes_per_second": bytes_per_second, "channel": THROTTLE_CHANNEL}
        await self._database.fetch(self._queries[query], parameters)


class ThrottleSync:
    """Keeps a worker's throttle to what the row says, and else to its own setting."""

    def __init__(self, store: ThrottleStore, bytes_per_second: int) -> None:
        self.throttle = Throttle(bytes_per_second)
        self.is_known = False
        """Whether the row was looked at: before that nobody knows how fast to read."""
        self._store = store
        self._own = bytes_per_second

    async def refresh(self) -> None:
        """Look at the row, and say so if the limit is another one now. See `ThrottleStore`."""
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
