"""Connections to PostgreSQL that are used again."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from gateway.database.connection import DatabaseConnection
from gateway.errors import DatabaseUnavailable

Connect = Callable[[], Awaitable[DatabaseConnection]]


class ConnectionPool:
    """Lends connections; how many there are is up to whoever asks for them.

    aiopg's own pool connects behind a lock that giving one back takes too: a connection that is
    long in coming holds up everybody.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._free: deque[DatabaseConnection] = deque()
        self._used: set[DatabaseConnection] = set()
        self._coming = 0
        self._is_closed = False

    @property
    def in_use(self) -> int:
        """How many are lent, or made for somebody, right now."""
        return len(self._used) + self._coming

    async def acquire(self) -> DatabaseConnection:
        """Lend a connection: one that is open and free, else a new one."""
        while self._free:
            connection = self._free.popleft()
            if not connection.closed:
                break
        else:
            connection = await self._make()
        self._used.add(connection)
        return connection

    async def _make(self) -> DatabaseConnection:
        self._coming += 1
        try:
            connection = await self._connect()
        finally:
            self._coming -= 1
        if self._is_closed:
            connection.close()
            raise DatabaseUnavailable
        return connection

    def release(self, connection: DatabaseConnection) -> None:
        """Take one back. It is closed if it cannot be used again."""
        self._used.discard(connection)
        if self._is_closed or not _is_idle(connection):
            connection.close()
        else:
            self._free.append(connection)

    def close(self) -> None:
        """Close every connection, also those that are lent."""
        self._is_closed = True
        for connection in (*self._free, *self._used):
            connection.close()
        self._free.clear()
        self._used.clear()


def _is_idle(connection: DatabaseConnection) -> bool:
    """Whether it is open and in no transaction; a request that was cancelled may leave one so."""
    if connection.closed:
        return False
    status: int = connection.raw.get_transaction_status()
    return status == TRANSACTION_STATUS_IDLE
