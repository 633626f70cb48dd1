"""Waiting for the schema: what is told, to whom, and that the gauges do not lie meanwhile."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateway.database.readiness import Readiness
from gateway.errors import IndexRefused, Unavailable
from gateway.index.state import FilespaceIndex
from gateway.monitors.index import IndexMonitor
from gateway.monitors.loop import _check
from gateway.monitors.schema import DATABASE_NEEDED, OWNER_NEEDED, SchemaMonitor
from gateway.settings import Settings
from support.database import administer, change
from support.outages import NO_DATABASE


async def test_without_a_database_the_schema_waits_says_so_once_and_is_not_healthy(
    database_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    readiness = Readiness()
    monitor = SchemaMonitor(change(database_settings, NO_DATABASE), readiness)
    for _ in range(3):
        assert await _check(monitor) is False
    assert readiness.reason == DATABASE_NEEDED
    assert monitor.heartbeat.is_healthy is False
    [warning] = warnings(caplog)
    reached = "Cannot reach PostgreSQL at 127.0.0.1:9 as teamcache_user: Connection refused"
    assert warning.startswith(f"schema: {DATABASE_NEEDED}: {reached}")


async def test_another_reason_is_told_though_nothing_was_well_in_between(
    empty_database: Settings,
    postgres_server: object,
    database_names: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    readiness = Readiness()
    monitor = SchemaMonitor(empty_database, readiness)
    monitor._settings = change(empty_database, NO_DATABASE)
    await _check(monitor)
    own(postgres_server, empty_database.db_name)
    monitor._settings = empty_database
    await _check(monitor)
    await _check(monitor)
    assert readiness.reason == OWNER_NEEDED
    first, second = warnings(caplog)
    assert DATABASE_NEEDED in first
    assert OWNER_NEEDED in second
    assert "\n" in second, "the statements for the owner follow"


def own(server: object, database: str) -> None:
    """Let nobody but the superuser make anything there."""
    administer(server, "REVOKE CREATE ON DATABASE {} FROM PUBLIC", database)  # type: ignore[arg-type]
    administer(server, "ALTER DATABASE {} OWNER TO postgres", database)  # type: ignore[arg-type]


async def test_once_the_schema_is_up_to_date_the_watch_ends(database_settings: Settings) -> None:
    readiness = Readiness()
    monitor = SchemaMonitor(database_settings, readiness)
    assert await _check(monitor)
    assert readiness.is_ready
    assert monitor.heartbeat.is_healthy


async def test_a_refused_index_is_not_healthy_and_builds_nothing(
    database_settings: Settings, tmp_path: Path
) -> None:
    settings = change(database_settings, {"container_mount_point": str(tmp_path / "away")})
    state = FilespaceIndex()
    monitor = IndexMonitor(settings, settings.container_mount_point, state)
    with pytest.raises(IndexRefused):
        await monitor.check_once()
    await _check(monitor)
    assert monitor.heartbeat.is_healthy is False
    assert not state.built


async def test_a_check_that_waits_raises(database_settings: Settings) -> None:
    monitor = SchemaMonitor(change(database_settings, NO_DATABASE), Readiness())
    with pytest.raises(Unavailable, match=DATABASE_NEEDED):
        await monitor.check_once()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
