"""Why PostgreSQL cannot be used, as those who run the gateway are told it: in one line."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.database import Database, blocking_connection, describe_outage
from gateway.database.migrations import migrate
from gateway.errors import DatabaseUnavailable
from gateway.settings import Settings
from gateway.standalone.postgres import EmbeddedPostgres
from support.database import WITHOUT_DURABILITY, change

SECRET = "a-secret-password"


async def explain(settings: Settings) -> str:
    """What `migrate` is told; the index's connection is told as much."""
    settings = change(settings, {"db_password": SECRET})
    with pytest.raises(DatabaseUnavailable) as caught:
        await migrate(settings)
    assert caught.value.message == "Database unavailable, please try again later"
    line = describe_outage(settings, caught.value)
    assert "\n" not in line
    assert "\t" not in line
    assert SECRET not in line
    return line


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"db_host": "127.0.0.1", "db_port": 9}, "at 127.0.0.1:9 as teamcache_user: Connection re"),
        ({"db_host": "no-such-host.invalid"}, "at no-such-host.invalid:5432 as teamcache_user: co"),
        ({"db_host": "/nowhere"}, "in /nowhere as teamcache_user: No such file or directory"),
        ({"db_name": "no_such_db"}, 'as teamcache_user: database "no_such_db" does not exist'),
        ({"db_user": "nobody_here"}, "as nobody_here: Peer authentication failed for user"),
    ],
)
async def test_the_reason_is_told(
    shared_database: Settings, changes: dict[str, Any], expected: str
) -> None:
    line = await explain(change(shared_database, changes))
    assert line.startswith("Cannot reach PostgreSQL ")
    assert expected in line


def test_a_connection_of_a_thread_is_explained_too(shared_database: Settings) -> None:
    settings = change(shared_database, {"db_name": "no_such_db"})
    with pytest.raises(DatabaseUnavailable) as caught, blocking_connection(settings):
        raise AssertionError("there is no such database")
    assert describe_outage(settings, caught.value).endswith('database "no_such_db" does not exist')


@pytest.fixture
def suspicious_server(public_folder: Path, postgres_bin: Path | None) -> Iterator[EmbeddedPostgres]:
    """A server that asks everybody but its superuser for a password."""
    rules = public_folder / "rules"
    rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    rules.chmod(0o644)
    with EmbeddedPostgres(
        public_folder / "data",
        database="teamcache_db",
        user="teamcache_user",
        bin_dir=postgres_bin,
        options={**WITHOUT_DURABILITY, "hba_file": str(rules)},
    ) as server:
        yield server


async def test_a_wrong_password_is_told(suspicious_server: EmbeddedPostgres) -> None:
    host = suspicious_server.host
    assert await explain(Settings(db_host=host)) == (
        f"Cannot reach PostgreSQL in {host} as teamcache_user:"
        ' password authentication failed for user "teamcache_user"'
    )


async def test_a_server_that_says_nothing_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        line = await explain(Settings(db_host="127.0.0.1", db_port=port, db_connect_timeout=0.3))
    assert line.endswith(f"at 127.0.0.1:{port} as teamcache_user: no answer within 0.3 s")


async def test_a_statement_that_took_too_long_is_told_as_such(shared_database: Settings) -> None:
    settings = change(shared_database, {"db_statement_timeout": 0.1})
    async with Database(settings) as database:
        with pytest.raises(DatabaseUnavailable) as caught:
            await database.fetch("SELECT pg_sleep(60)")
    assert describe_outage(settings, caught.value).endswith("The database took too long to answer")
