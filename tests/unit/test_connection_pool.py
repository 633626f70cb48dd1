"""Connections are used again, and one that is long in coming holds up nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.database import Database
from gateway.settings import Settings
from support.dying_postgres import DyingPostgres
from support.index_rows import run

PATIENCE = 10.0
PID = "SELECT pg_backend_pid() AS pid"


async def test_a_connection_that_does_not_come_holds_up_nobody_else(
    database_settings: Settings, public_folder: Path
) -> None:
    patient = database_settings.model_copy(update={"db_connect_timeout": 120.0})
    async with (
        asyncio.timeout(PATIENCE),
        DyingPostgres(patient, public_folder) as postgres,
        Database(postgres.settings) as database,
    ):
        async with database.session() as held:
            await held.fetch(PID)
            postgres.is_silent = True
            waiting = asyncio.create_task(database.fetch(PID))
            await postgres.silences.wait()
            assert await database.fetch(PID)
        # The one that was given back too, which is used again.
        assert database.in_use == 1
        assert await database.fetch(PID)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert database.in_use == 0


async def test_a_connection_that_is_given_back_is_used_again_unless_it_is_lost(
    database_settings: Settings,
) -> None:
    async with Database(database_settings) as database:
        first = (await database.fetch_one(PID)).pid
        assert (await database.fetch_one(PID)).pid == first
        await asyncio.to_thread(run, database_settings, "SELECT pg_terminate_backend(%s)", first)
        assert (await database.fetch_one(PID)).pid != first
        assert database.in_use == 0
