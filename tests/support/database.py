"""Databases on a real PostgreSQL, and the API on them."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from aiohttp.test_utils import TestClient
from psycopg2 import sql

from gateway.app import create_app
from gateway.settings import Settings
from gateway.standalone.postgres import SUPERUSER, EmbeddedPostgres

ROLE = "teamcache_user"
TEMPLATE = "template_gateway"
HEALTH = "/api/v1/health"
UNLIMITED = {"rate_limit_per_minute": 0, "poll_limit_per_minute": 0}
# What is committed survives a kill of PostgreSQL's processes all the same, not of the machine.
WITHOUT_DURABILITY = {"fsync": "off", "full_page_writes": "off"}
StartApi = Callable[..., Awaitable[TestClient[Any, Any]]]


@contextmanager
def make_public_folder() -> Iterator[Path]:
    """A folder that the server's account can reach, unlike pytest's own, which are 0700."""
    folder = Path(tempfile.mkdtemp(prefix="teamcache-test-")).resolve()
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def server_of_its_own(folder: Path, postgres_bin: Path | None) -> Iterator[EmbeddedPostgres]:
    """A server that a test may stop, stall and start."""
    with EmbeddedPostgres(
        folder / "data",
        database="teamcache_db",
        user=ROLE,
        bin_dir=postgres_bin,
        options=WITHOUT_DURABILITY,
    ) as server:
        yield server


def make_settings(server: EmbeddedPostgres, database: str) -> Settings:
    return Settings(db_host=server.host, db_port=server.port, db_name=database, db_user=ROLE)


def create_database(server: EmbeddedPostgres, name: str, template: str = "template0") -> None:
    """Make a database by copying the template's files, in half the time of the default."""
    with closing(connect_as_superuser(server, "postgres")) as connection:
        # From PostgreSQL 15 on there are two strategies; before, this one alone.
        strategy = " STRATEGY FILE_COPY" if connection.server_version >= 150000 else ""
    statement = "CREATE DATABASE {} OWNER {} TEMPLATE {}" + strategy
    administer(server, statement, name, ROLE, template)


def administer(server: EmbeddedPostgres, statement: str, *names: str) -> None:
    """Run one statement as the superuser, its ``{}`` replaced by quoted ``names``."""
    with closing(connect_as_superuser(server, "postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cur:
            cur.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def connect_as_superuser(server: EmbeddedPostgres, database: str) -> Any:
    return psycopg2.connect(host=server.host, port=server.port, user=SUPERUSER, dbname=database)


def make_starter(aiohttp_client: Any, database_settings: Settings) -> StartApi:
    async def start(**changes: Any) -> TestClient[Any, Any]:
        settings = change(database_settings, UNLIMITED | changes)
        headers = {"X-API-Key": settings.api_gateway_key.get_secret_value()}
        client: TestClient[Any, Any] = await aiohttp_client(create_app(settings), headers=headers)
        await wait_until_ready(client)
        return client

    return start


def change(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with some changed, validated anew."""
    return Settings(**settings.model_dump() | changes)


async def wait_until_ready(client: TestClient[Any, Any], health: str = HEALTH) -> None:
    async with asyncio.timeout(30):
        while (await client.get(health)).status != 200:
            pass
