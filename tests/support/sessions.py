"""What the tests of the database layer share: sessions watched and ended from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from gateway.database import (
    Database,
)
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.standalone.postgres import SUPERUSER, EmbeddedPostgres
from support.database import ROLE
from support.manager_schema import run_as

SLEEP = "SELECT pg_sleep(60)"
OURS = """
FROM pg_stat_activity
WHERE application_name = 'teamcache-gateway' AND datname = current_database()
  AND pid <> pg_backend_pid()
"""
UNTIL_SECONDS = 20


def watch_loop() -> list[dict[str, Any]]:
    """What reaches the running loop's exception handler from now on."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: complaints.append(what))
    return complaints


def settings_of(server: EmbeddedPostgres, **changes: Any) -> Settings:
    return Settings(db_host=server.host, db_port=server.port, db_user=ROLE, **changes)


def count_ours(settings: Settings, condition: str = "true") -> int:
    return int(run_as(settings, SUPERUSER, f"SELECT count(*) {OURS} AND {condition}")[0][0])


async def until_ours(settings: Settings, count: int, condition: str = "true") -> None:
    async with asyncio.timeout(UNTIL_SECONDS):
        while await asyncio.to_thread(count_ours, settings, condition) != count:
            await asyncio.sleep(0.02)


def terminate_ours(settings: Settings) -> None:
    run_as(settings, SUPERUSER, f"SELECT pg_terminate_backend(pid) {OURS}")


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[asyncio.Task[Any]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, GatewayError):
            await task


async def make_table(database: Database) -> None:
    async with database.session() as session:
        await session.execute("CREATE TABLE t (n int PRIMARY KEY)")


async def rows_of_table(database: Database) -> list[int]:
    return [row.n for row in await database.fetch("SELECT n FROM t ORDER BY n")]
