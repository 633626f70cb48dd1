"""A connection that loses its socket lets go of it at once, and whoever waits for it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiopg.connection
import pytest
import uvloop

from gateway.database import Database
from gateway.errors import DatabaseUnavailable
from gateway.settings import Settings
from support.dying_postgres import DyingPostgres
from support.index_rows import run

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
PATIENCE = 10.0


class Select:
    """`select` as it is where a thread has opened a file with the number, or for high numbers."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def select(self, *_arguments: Any) -> tuple[list[int], list[int], list[int]]:
        if self._error is not None:
            raise self._error
        return [], [], []


@pytest.mark.parametrize(
    "error",
    [None, ValueError("filedescriptor out of range in select()")],
    ids=["the number is taken", "the number is high"],
)
async def test_a_lost_connection_lets_go_of_its_socket_and_tells_who_waits(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    async with Database(database_settings) as database:
        with pytest.raises(DatabaseUnavailable):
            async with asyncio.timeout(PATIENCE), database.session() as session:
                pool: Any = database._pool
                [connection] = pool._used
                number, process = connection.raw.fileno(), connection.raw.get_backend_pid()
                sleeping = asyncio.create_task(session.fetch("SELECT pg_sleep(60)"))
                while not await asyncio.to_thread(is_sleeping, database_settings, process):
                    pass
                monkeypatch.setattr(aiopg.connection, "select", Select(error))
                run(database_settings, "SELECT pg_terminate_backend(%s)", process)
                await sleeping
        assert not asyncio.get_running_loop().remove_reader(number)
        assert await database.fetch("SELECT 1 AS one")


def is_sleeping(settings: Settings, process: int) -> bool:
    statement = "SELECT query LIKE '%%pg_sleep%%' AS is_it FROM pg_stat_activity WHERE pid = %s"
    return bool(run(settings, statement, process)[0].is_it)


Scene = Callable[[Database, DyingPostgres], Coroutine[Any, Any, None]]


async def dies_while_a_client_connects(database: Database, postgres: DyingPostgres) -> None:
    postgres.dies_at_start = True
    assert await database.fetch("SELECT 1 AS one")


async def dies_before_it_reads_a_statement(database: Database, postgres: DyingPostgres) -> None:
    assert await database.fetch("SELECT 1 AS one")
    postgres.dies_at_statement = True
    assert await database.fetch("SELECT 2 AS two")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "scene",
    [dies_while_a_client_connects, dies_before_it_reads_a_statement],
)
def test_who_waits_for_a_server_that_dies_in_mid_sentence_is_told(
    database_settings: Settings, public_folder: Path, loop: str, scene: Scene
) -> None:
    """Something is left to read, and what we sent is not read: libuv tells of it once."""

    async def play() -> None:
        async with (
            asyncio.timeout(PATIENCE),
            DyingPostgres(database_settings, public_folder) as postgres,
            Database(postgres.settings) as database,
        ):
            await scene(database, postgres)
            assert postgres.deaths == 1

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(play())
