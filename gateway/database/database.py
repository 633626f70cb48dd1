"""The pool, transactions and LISTEN. What goes wrong leaves it as errors of ours.

aiopg's connections are in autocommit: one statement needs no transaction, several statements go
through `Database.transaction`. What a statement returns are named tuples.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, Self

import aiopg
import psycopg2
import psycopg2.extensions
from psycopg2.extras import NamedTupleCursor

from gateway.database.arguments import connection_arguments
from gateway.database.connection import DatabaseConnection, connect
from gateway.database.errors import describe_outage, translated_errors
from gateway.database.full_disk import FullDisk
from gateway.database.pool import ConnectionPool
from gateway.errors import DatabaseUnavailable, Unavailable
from gateway.settings import Settings

__all__ = [
    "Database",
    "Notification",
    "Parameters",
    "Session",
    "array_literal",
    "blocking_connection",
    "connection_arguments",
    "describe_outage",
    "translated_errors",
]

Parameters = Mapping[str, Any]

# What a cancelled statement's answer may take on top of the server's own timeout.
GRACE_SECONDS = 5.0
# A restarted PostgreSQL has recovered by then; the first use of an old connection fails once.
RETRY_SECONDS = 0.5
# Creating a job of a million files takes a minute: those behind it may wait for their turn.
SLOW_QUERY_SLOT_SECONDS = 30.0
LISTEN_PROBE_SECONDS = 30.0
PING_SECONDS = 2.0
ROWS_PER_FETCH = 2000
# Ends a statement whose client is gone; PostgreSQL 13 does not know the setting.
NOTICE_LOST_CLIENTS = """
SELECT set_config('client_connection_check_interval', '500', false)
WHERE current_setting('server_version_num')::integer >= 140000
"""


class Notification(NamedTuple):
    """What NOTIFY sent. Without a channel: listening has begun."""

    channel: str
    payload: str


class Session:
    """One connection in use. Statements run one after another."""

    def __init__(self, cursor: aiopg.Cursor) -> None:
        self._cursor = cursor

    async def fetch(self, query: str, parameters: Parameters | None = None) -> list[Any]:
        """Run a statement and return its rows, named tuples."""
        await self._cursor.execute(query, parameters)
        rows: list[Any] = await self._cursor.fetchmany(ROWS_PER_FETCH)
        while len(rows) < self._cursor.rowcount:
            # All of a hundred thousand rows at once would hold up the loop.
            await asyncio.sleep(0)
            rows += await self._cursor.fetchmany(ROWS_PER_FETCH)
        return rows

    async def fetch_one(self, query: str, parameters: Parameters | None = None) -> Any:
        """Run a statement and return its first row, or None."""
        await self._cursor.execute(query, parameters)
        return await self._cursor.fetchone()

    async def execute(self, query: str, parameters: Parameters | None = None) -> int:
        """Run a statement and return how many rows it touched."""
        await self._cursor.execute(query, parameters)
        return int(self._cursor.rowcount)

    async def run(self, script: str) -> None:
        """Run a script without parameters: ``%`` in it means itself."""
        await self._cursor.execute(script)


class Database:
    """A pool of connections that survives restarts, cancellations and lost networks.

    Semaphores in front of the pool say how many there may be. One place more than the settings
    say is `ping`'s: a database that is busy is not away.
    """

    def __init__(self, settings: Settings) -> None:
        self.full_disk = FullDisk()
        self._settings = settings
        self._places = asyncio.Semaphore(settings.db_pool_size)
        self._slow_query_slots = asyncio.Semaphore(max(1, settings.db_pool_size // 2))
        self._ping_place = asyncio.Semaphore(1)
        self._pool: ConnectionPool | None = None

    async def open(self) -> None:
        """Make the pool. Connects to nothing yet, so it works while PostgreSQL is away."""
        self._pool = ConnectionPool(self._connect)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the pool and every connection of it, also those in use."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    @property
    def size(self) -> int:
        """Connections at most, but for `ping`'s."""
        return self._settings.db_pool_size

    @property
    def in_use(self) -> int:
        """Connections that somebody holds right now."""
        return 0 if self._pool is None else self._pool.in_use

    @property
    def is_disk_full(self) -> bool:
        """Whether the last write found no room."""
        return self.full_disk.is_full

    async def fetch(self, query: str, parameters: Parameters | None = None) -> list[Any]:
        """Run one statement that may safely run twice, and return its rows.

        It is tried a second time when the connection fails. Raises `DatabaseUnavailable`.
        """
        return await self._fetch(self._places, query, parameters)

    async def ping(self) -> None:
        """Raise `DatabaseUnavailable` if PostgreSQL does not answer within two seconds."""
        with translated_errors():
            async with asyncio.timeout(PING_SECONDS):
                await self._fetch(self._ping_place, "SELECT 1")

    async def _fetch(
        self, places: asyncio.Semaphore, query: str, parameters: Parameters | None = None
    ) -> list[Any]:
        try:
            async with self._cursor(places) as cursor:
                return await Session(cursor).fetch(query, parameters)
        except DatabaseUnavailable as error:
            if not _is_lost_connection(error):
                raise
            await asyncio.sleep(RETRY_SECONDS)
            async with self._cursor(places) as cursor:
                return await Session(cursor).fetch(query, parameters)

    async def fetch_one(self, query: str, parameters: Parameters | None = None) -> Any:
        """Like `fetch`, but return the first row, or None."""
        rows = await self.fetch(query, parameters)
        return rows[0] if rows else None

    @asynccontextmanager
    async def session(self, statement_seconds: float | None = None) -> AsyncIterator[Session]:
        """Lend a connection, in autocommit: each statement is its own transaction.

        ``statement_seconds`` is how long we wait for an answer; the server's own limit stays.
        """
        async with self._cursor(self._places, statement_seconds) as cursor:
            yield Session(cursor)

    @asynccontextmanager
    async def slow_query_slot(self, work: str) -> AsyncIterator[None]:
        """Wait for one's turn to do slow work: it leaves half of the connections to the others.

        Raises `Unavailable` if it does not come within half a minute: there is too much ``work``,
        like "jobs are being created".
        """
        try:
            async with asyncio.timeout(SLOW_QUERY_SLOT_SECONDS):
                await self._slow_query_slots.acquire()
        except TimeoutError:
            raise Unavailable(f"Too many {work}, please try again later", retry_after=10) from None
        try:
            yield
        finally:
            self._slow_query_slots.release()

    @asynccontextmanager
    async def transaction(self, statement_seconds: float | None = None) -> AsyncIterator[Session]:
        """Lend a connection inside a transaction: committed at the end, rolled back on an error.

        ``statement_seconds`` raises the time that each of its statements may take.
        """
        async with self._cursor(self._places, statement_seconds) as cursor:
            if statement_seconds is not None:
                # A connection that answers no more is found out before it is waited for so long.
                limit = self._settings.db_statement_timeout + GRACE_SECONDS
                await cursor.execute("SELECT 1", timeout=limit)
            async with cursor.begin():
                yield await self._begun(cursor, statement_seconds)

    async def _begun(self, cursor: aiopg.Cursor, statement_seconds: float | None) -> Session:
        session = Session(cursor)
        if statement_seconds is not None:
            await session.execute(
                "SELECT set_config('statement_timeout', %(ms)s, true)",
                {"ms": str(int(statement_seconds * 1000))},
            )
        return session

    @asynccontextmanager
    async def _cursor(
        self, places: asyncio.Semaphore, statement_seconds: float | None = None
    ) -> AsyncIterator[aiopg.Cursor]:
        limit = (statement_seconds or self._settings.db_statement_timeout) + GRACE_SECONDS
        with translated_errors():
            async with (
                self._connection(places) as connection,
                connection.cursor(cursor_factory=NamedTupleCursor, timeout=limit) as cursor,
            ):
                yield cursor

    @asynccontextmanager
    async def _connection(self, places: asyncio.Semaphore) -> AsyncIterator[DatabaseConnection]:
        async with self._place(places):
            pool = self._pool
            if pool is None:
                raise DatabaseUnavailable
            connection = await self._acquire(pool)
            try:
                yield connection
            finally:
                pool.release(connection)

    @asynccontextmanager
    async def _place(self, places: asyncio.Semaphore) -> AsyncIterator[None]:
        async with asyncio.timeout(self._settings.db_connect_timeout):
            await places.acquire()
        try:
            yield
        finally:
            places.release()

    async def _acquire(self, pool: ConnectionPool) -> DatabaseConnection:
        async with asyncio.timeout(self._settings.db_connect_timeout):
            return await pool.acquire()

    async def _connect(self) -> DatabaseConnection:
        limit = self._settings.db_statement_timeout + GRACE_SECONDS
        connection = await connect(self._settings, limit)
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(NOTICE_LOST_CLIENTS)
        except BaseException:
            # The pool does not know it yet, so nobody else would close it.
            connection.close()
            raise
        return connection

    async def listen(
        self, *channels: str, on_probe: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[Notification, None]:
        """Yield what is notified on ``channels``, on a connection of its own.

        A notification without a channel comes first, when listening has begun: what happened
        before is to be read now. ``on_probe`` is called whenever a quiet connection was found to
        be alive. Raises `DatabaseUnavailable` when the connection is lost; call
        it again then.
        """
        with translated_errors():
            connection = await connect(self._settings, self._settings.db_connect_timeout)
            async with connection, connection.cursor() as cursor:
                for channel in channels:
                    await cursor.execute(f'LISTEN "{channel}"')
                yield Notification("", "")
                while True:
                    yield await _next_notification(connection, cursor, on_probe)


async def _next_notification(
    connection: DatabaseConnection, cursor: aiopg.Cursor, on_probe: Callable[[], None]
) -> Notification:
    # A task, since cancelling the queue's get at the wrong moment loses what it had taken out.
    notify = asyncio.ensure_future(connection.notifies.get())
    try:
        while not (await asyncio.wait([notify], timeout=LISTEN_PROBE_SECONDS))[0]:
            # A network that swallows packets is noticed by asking.
            await cursor.execute("SELECT 1")
            on_probe()
        return Notification(notify.result().channel, notify.result().payload)
    finally:
        notify.cancel()


def array_literal(values: Iterable[str | int]) -> str:
    """Write an array's text, ``{"a","b"}``, for a parameter that is cast: ``%(names)s::text[]``.

    The driver writes a list as ``ARRAY['a', 'b']``, of which PostgreSQL parses each element as an
    expression: for ten thousand paths that costs more than looking them up.
    """
    texts = list(map(str, values))
    joined = "".join(texts)
    # Looked for in all of them at once: there may be thousands, and hardly ever one to escape.
    if "\\" in joined or '"' in joined:
        texts = [text.replace("\\", r"\\").replace('"', r"\"") for text in texts]
    return '{"' + '","'.join(texts) + '"}' if texts else "{}"


@contextmanager
def blocking_connection(settings: Settings) -> Iterator[Any]:
    """A psycopg2 connection for use in a thread, which COPY needs; statements have no timeout.

    Committed at the end, rolled back on an error. Driver errors become ours.
    """
    with translated_errors():
        connection = psycopg2.connect(**connection_arguments(settings))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = 0")
                yield connection
        finally:
            connection.close()


def _is_lost_connection(error: DatabaseUnavailable) -> bool:
    return isinstance(error.__cause__, psycopg2.OperationalError | psycopg2.InterfaceError)
