"""What the gateway says of itself while it is well, while it starts, and while it cannot work."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import psycopg2
import pytest

from gateway.app import create_app
from gateway.database import connection_arguments
from gateway.http.app_keys import READINESS
from gateway.index.state import IndexState
from gateway.settings import Settings
from support.database import UNLIMITED, StartApi, administer, change, wait_until_ready
from support.outages import NO_DATABASE, kill_others

HEALTH = "/api/v1/health"
JOBS = "/api/v1/cache/jobs"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def read_health(client: Any) -> tuple[int, dict[str, Any], str]:
    response = await client.get(HEALTH)
    body = await response.json()
    return response.status, body, body.pop("timestamp")


async def test_a_ready_gateway_is_healthy(api: Any) -> None:
    status, body, timestamp = await read_health(api)
    assert status == 200
    assert TIME.fullmatch(timestamp)
    assert body == {
        "success": True,
        "status": "healthy",
        "service": "api-gateway",
        "database": "connected",
    }


async def test_health_asks_for_no_key(api: Any) -> None:
    del api.session.headers["X-API-Key"]
    assert (await api.get(HEALTH)).status == 200


async def test_a_gateway_without_its_database_is_unhealthy(
    aiohttp_client: Any, database_settings: Settings
) -> None:
    client = await aiohttp_client(create_app(change(database_settings, NO_DATABASE)))
    status, body, timestamp = await read_health(client)
    assert status == 503
    assert TIME.fullmatch(timestamp)
    assert body == {
        "success": False,
        "error": "Database unavailable, please try again later",
        "status": "unhealthy",
        "service": "api-gateway",
        "database": "disconnected",
    }


async def test_a_database_that_is_away_is_told_without_the_drivers_words(
    aiohttp_client: Any, database_settings: Settings
) -> None:
    client = await aiohttp_client(create_app(change(database_settings, NO_DATABASE)))
    text = await (await client.get(HEALTH)).text()
    assert "127.0.0.1" not in text
    assert "refused" not in text


async def test_health_notices_when_the_database_goes_away_and_comes_back(
    start_api: StartApi, database_settings: Settings, postgres_server: Any
) -> None:
    client = await start_api()
    name = database_settings.db_name
    administer(postgres_server, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", name)
    kill_others(postgres_server, name)
    assert (await read_health(client))[0] == 503
    administer(postgres_server, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", name)
    await wait_until_ready(client)


@pytest.fixture
async def starting(aiohttp_client: Any, empty_database: Settings) -> Any:
    """A gateway that waits for its turn to migrate."""
    holder = psycopg2.connect(**connection_arguments(empty_database))
    holder.cursor().execute("SELECT pg_advisory_lock(hashtext('teamcache_gateway.migrations'))")
    settings = change(empty_database, UNLIMITED)
    headers = {"X-API-Key": settings.api_gateway_key.get_secret_value()}
    client = await aiohttp_client(create_app(settings), headers=headers)
    client.let_go = holder.close
    yield client
    holder.close()


async def test_until_the_migrations_are_done_the_gateway_is_starting(starting: Any) -> None:
    status, body, timestamp = await read_health(starting)
    assert status == 503
    assert TIME.fullmatch(timestamp)
    assert body == {
        "success": False,
        "error": "The gateway is starting, please try again shortly",
        "status": "starting",
        "service": "api-gateway",
        "database": "connected",
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", JOBS),
        ("GET", JOBS),
        ("GET", f"{JOBS}/6bb4629b-1487-477c-96fe-b762d82a099b"),
        ("DELETE", f"{JOBS}/6bb4629b-1487-477c-96fe-b762d82a099b"),
    ],
)
async def test_until_then_jobs_are_answered_with_starting(
    starting: Any, method: str, path: str
) -> None:
    response = await starting.request(method, path, json={"files": ["a"]})
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert await response.json() == {
        "success": False,
        "error": "The gateway is starting, please try again shortly",
    }


async def test_a_wrong_key_learns_nothing_of_the_start(starting: Any) -> None:
    assert (await starting.get(JOBS, headers={"X-API-Key": "wrong"})).status == 401


async def test_when_the_migrations_are_done_jobs_are_taken(starting: Any) -> None:
    starting.let_go()
    await wait_until_ready(starting)
    assert (await starting.get(JOBS)).status == 200


async def test_livez_touches_nothing(database_settings: Settings, aiohttp_client: Any) -> None:
    client = await aiohttp_client(create_app(change(database_settings, NO_DATABASE)))
    response = await client.get("/livez")
    assert response.status == 200
    assert await response.json() == {"success": True, "status": "alive"}


async def test_an_index_of_our_own_is_reported(
    aiohttp_client: Any, database_settings: Settings
) -> None:
    index = IndexState()
    client = await aiohttp_client(create_app(database_settings, index=index))
    await wait_until_ready(client)

    async def report() -> object:
        return (await read_health(client))[1]["index"]

    assert await report() == {"status": "building", "entries": 0, "lastScan": None}
    east, west = index.of("/east"), index.of("/west")
    east.succeeded(7, datetime(2026, 11, 24, 10, 23, tzinfo=UTC))
    west.progress.entries = 100
    assert await report() == {"status": "building", "entries": 107, "lastScan": None}
    west.failed("West is away")
    away = {"status": "refused", "error": "West is away"}
    assert await report() == away | {"entries": 107, "lastScan": None}
    west.succeeded(20, datetime(2026, 11, 24, 10, 25, tzinfo=UTC))
    good = {"status": "ready", "entries": 27, "lastScan": "2026-11-24T10:23:00.000Z"}
    assert await report() == good
    for filespace in (east, west):
        filespace.failed("The database is away")
        filespace.progress.entries = 1
    assert await report() == good | {"status": "refused", "error": "The database is away"}
    east.succeeded(8, datetime(2026, 11, 24, 10, 38, tzinfo=UTC))
    west.succeeded(20, datetime(2026, 11, 24, 10, 39, tzinfo=UTC))
    assert (await report()) == {
        "status": "ready",
        "entries": 28,
        "lastScan": "2026-11-24T10:38:00.000Z",
    }


async def test_health_says_starting_while_postgres_does(
    aiohttp_client: Any, database_settings: Settings
) -> None:
    app = create_app(change(database_settings, NO_DATABASE))
    app[READINESS].expect_database_start()
    status, health, *_ = await read_health(await aiohttp_client(app))
    assert (status, health["status"], health["error"]) == (
        503,
        "starting",
        "PostgreSQL is starting",
    )
