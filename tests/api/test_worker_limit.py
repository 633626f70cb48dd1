"""The limit that workers are held to is seen by whoever looks why warming is slow."""

from __future__ import annotations

import asyncio

import pytest

from gateway.database import Database
from gateway.database.readiness import Readiness
from gateway.errors import DatabaseUnavailable
from gateway.http.app_keys import DATABASE, METRICS, READINESS
from gateway.metrics.latest import Metrics
from gateway.monitors.worker_limit import WorkerLimitMonitor
from gateway.schemas.serializers import all_metrics
from gateway.settings import Settings
from gateway.worker.throttle_store import ThrottleStore
from support.database import StartApi, change
from support.hearing import PATIENCE
from support.outages import NO_DATABASE
from support.prometheus_text import scrape

SERIES = ("worker_limit_bytes_per_second", frozenset[tuple[str, str]]())


async def test_the_limit_in_force_is_a_series_and_stands_in_the_metrics(
    start_api: StartApi,
) -> None:
    api = await start_api(worker_max_bytes_per_second=5_000)
    app = api.app
    store = ThrottleStore(app[DATABASE])
    monitor = WorkerLimitMonitor(store, 5_000, app[METRICS], app[READINESS])
    for row, limit in ((None, 5_000), (200_000_000, 200_000_000), (0, 0), (None, 5_000)):
        await store.write(row)
        # The application's own may just be setting what it has read before.
        async with asyncio.timeout(PATIENCE):
            while app[METRICS].worker_limit != limit:
                await monitor.check_once()
        assert (await scrape(api))[SERIES] == limit
        answer = await (await api.get("/api/v1/metrics")).json()
        assert answer["metrics"]["workers"] == {"maxBytesPerSecond": limit}


async def test_the_application_looks_by_itself(start_api: StartApi) -> None:
    api = await start_api(worker_max_bytes_per_second=7_000)
    async with asyncio.timeout(PATIENCE):
        while SERIES not in (series := await scrape(api)):
            await asyncio.sleep(0.01)
    assert series[SERIES] == 7_000


async def test_while_the_database_is_away_the_last_limit_stays_and_none_is_invented() -> None:
    readiness, metrics = Readiness(), Metrics("")
    readiness.set_ready()
    away = Database(change(Settings(), NO_DATABASE))
    async with away:
        monitor = WorkerLimitMonitor(ThrottleStore(away), 7, metrics, readiness)
        for last in (None, 200):
            metrics.worker_limit = last
            with pytest.raises(DatabaseUnavailable):
                await monitor.check_once()
            assert metrics.worker_limit == last
            assert ("workers" in all_metrics(metrics)) is (last is not None)
