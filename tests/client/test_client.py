"""The async client against a live gateway, also one that goes away and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.client import GatewayClient, GatewayClientError
from gateway.client import client as client_module
from gateway.events.hub import Event, job_topic
from gateway.http import app_keys
from gateway.job import JobStatus, Progress
from gateway.schemas.serializers import job_message
from gateway.settings import Settings
from support.client_server import KEY, Server, StartServer, Watching
from support.index_rows import UNKNOWN_ID, add_files, change_job, make_job, run
from support.stream_kit import PATIENCE
from support.worker_kit import open_bench


@pytest.fixture
async def client(server: Server) -> AsyncIterator[GatewayClient]:
    async with GatewayClient(server.url, KEY) as client:
        yield client


@pytest.fixture(autouse=True)
def _quick_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_BACKOFF", 0.05)


async def test_a_job_is_submitted_read_listed_and_cancelled(
    client: GatewayClient, database_settings: Settings
) -> None:
    add_files(database_settings, {"a/1.mov": 1000, "a/2.mov": 24, "b.mov": 5})
    job = await client.submit(files=["b.mov", "new.mov"], directories=["a"], recursive=False)
    assert (job.status, job.total_files, job.total_bytes) == ("pending", 4, 1029)
    assert list(job.unindexed) == ["new.mov"]
    view = await client.status(job.id)
    assert (view.id, view.status, view.percentage, view.has_ended) == (job.id, "pending", 0, False)
    assert view.created_at is not None
    assert view.created_at.utcoffset() is not None
    assert (view.started_at, view.completed_at, view.error) == (None, None, None)
    listed, total = await client.jobs(status="pending", limit=1)
    assert ([one.id for one in listed], total) == ([job.id], 1)
    # A list does not tell what the percentage is the mean of.
    assert (view.file_percentage, view.size_percentage) == (0, 0)
    assert listed[0] == replace(view, file_percentage=None, size_percentage=None)
    await client.cancel(job.id)
    assert (await client.status(job.id)).has_ended
    assert await client.jobs(status="pending") == ([], 0)
    assert (await client.metrics()).mbps == 0
    assert (await client.metrics()).s3_is_healthy is None
    assert (await client.health())["status"] == "healthy"


async def test_what_the_gateway_refuses_is_raised_as_it_says(client: GatewayClient) -> None:
    for asked, status, sentence in (
        (client.status(UNKNOWN_ID), 404, "Job not found"),
        (client.cancel("x"), 400, "Invalid job ID format"),
        (client.jobs(limit=101), 400, "limit"),
        (client.submit(directories=["nowhere"]), 400, "No files found"),
        (client.submit(files=["../x"]), 400, "x"),
    ):
        with pytest.raises(GatewayClientError, match=sentence) as refused:
            await asked
        assert refused.value.status == status


async def test_a_wrong_key_is_refused_by_requests_and_by_watching(server: Server) -> None:
    async with GatewayClient(server.url, "wrong") as client:
        with pytest.raises(GatewayClientError, match="API key") as refused:
            await client.status(UNKNOWN_ID)
        assert refused.value.status == 401
        with pytest.raises(GatewayClientError) as refused:
            await anext(client.watch(UNKNOWN_ID))
        assert refused.value.status == 401


async def test_a_gateway_that_is_not_there_is_told(server: Server, client: GatewayClient) -> None:
    await server.stop()
    with pytest.raises(GatewayClientError, match="cannot be reached") as refused:
        await client.metrics()
    assert refused.value.status is None
    with pytest.raises(GatewayClientError, match="cannot be reached"):
        await anext(client.watch(UNKNOWN_ID, patience=0.1))


async def test_where_the_rate_limit_refuses_the_client_waits_as_it_is_told(
    start_server: StartServer, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start_server(rate_limit_per_minute=1, poll_limit_per_minute=1)
    job_id = make_job(database_settings, status="completed")
    waits: list[float] = []
    sleep = asyncio.sleep

    async def waiting(seconds: float) -> None:
        if seconds >= 1:
            waits.append(seconds)
            limits = server.app[app_keys.LIMITS]
            for buckets in (limits._requests, limits._polls):
                buckets._buckets.clear()
        await sleep(0)

    async with GatewayClient(server.url, KEY) as client:
        await client.status(job_id)
        await client.jobs()
        monkeypatch.setattr(client_module.asyncio, "sleep", waiting)
        assert (await client.status(job_id)).id == job_id
        assert (await client.jobs())[1] == 1
        for _ in range(2):
            assert [one.kind async for one in client.watch(job_id)] == ["snapshot"]
    assert len(waits) == 3
    assert all(1 <= seconds <= 60 for seconds in waits)


async def test_a_job_is_watched_to_its_end(
    client: GatewayClient, database_settings: Settings
) -> None:
    job_id = make_job(database_settings, total_files=2)
    watching = Watching(client, job_id.upper())
    await watching.until(lambda one: one.kind == "snapshot")
    change_job(database_settings, job_id, status="running")
    change_job(database_settings, job_id, completed_files=1)
    await watching.until(lambda one: one.job.completed_files == 1)
    change_job(
        database_settings, job_id, status="completed", completed_files=2, error_message="so so"
    )
    kinds = await watching.end()
    assert kinds == ["snapshot", "job-started", "job-progress", "job-completed"]
    last = watching.seen[-1].job
    assert (last.percentage, last.error, last.has_ended) == (100, "so so", True)
    assert [one.job.percentage for one in watching.seen] == [0, 0, 50, 100]


async def test_what_the_snapshot_showed_already_is_no_change(
    server: Server, client: GatewayClient, database_settings: Settings
) -> None:
    """As when the news of a job's creation was on its way when the job was looked at."""
    job_id = make_job(database_settings, total_files=2)
    watching = Watching(client, job_id)
    await watching.until(lambda one: one.kind == "snapshot")
    nothing = Progress(2, 0, 0, 0, 0, 0)
    late = job_message("job-created", job_id, JobStatus.PENDING, nothing, None)
    server.app[app_keys.HUB].publish(Event(late, topics=(job_topic(job_id),), job_id=job_id))
    run(database_settings, "UPDATE cache_jobs SET status = 'cancelled'")
    assert await watching.end() == ["snapshot", "job-cancelled"]


async def test_a_job_that_has_ended_is_shown_once(
    client: GatewayClient, database_settings: Settings
) -> None:
    job_id = make_job(database_settings, status="failed")
    assert [one.kind async for one in client.watch(job_id, files=True)] == ["snapshot"]


async def test_watching_a_job_that_does_not_exist_raises(client: GatewayClient) -> None:
    for job_id, sentence in ((UNKNOWN_ID, "Job not found"), ("x", "Invalid job ID format")):
        with pytest.raises(GatewayClientError, match=sentence):
            await anext(client.watch(job_id))


async def test_files_are_told_if_asked(
    start_server: StartServer, database_settings: Settings, tmp_path: Path
) -> None:
    server = await start_server(container_mount_point=str(tmp_path))
    async with open_bench(database_settings, tmp_path) as bench:
        await bench.index({"a/1.mov": 10, "a/2.mov": 20})
        (tmp_path / "a/2.mov").unlink()
        job_id = await bench.submit("a")
        async with GatewayClient(server.url, KEY) as client:
            watching = Watching(client, job_id, files=True)
            await watching.until(lambda one: one.kind == "snapshot")
            async with bench.working():
                kinds = await watching.end()
    files = {one.file.path: one.file for one in watching.seen if one.file is not None}
    assert set(files) == {"a/1.mov", "a/2.mov"}
    assert (files["a/1.mov"].error, files["a/1.mov"].size) == (None, 10)
    assert files["a/2.mov"].error
    assert kinds[-1] == "job-completed"


@pytest.mark.parametrize("patience", [300.0, 60.0])
async def test_a_watch_survives_a_restart_of_the_gateway(
    server: Server, client: GatewayClient, database_settings: Settings, patience: float
) -> None:
    job_id = make_job(database_settings, status="running", total_files=4, completed_files=1)
    watching = Watching(client, job_id, patience=patience)
    await watching.until(lambda one: one.kind == "snapshot")
    for done in (2, 3):
        await server.stop()
        change_job(database_settings, job_id, completed_files=done)
        await server.start()
        await watching.until(lambda one, done=done: one.job.completed_files == done)
    change_job(database_settings, job_id, status="completed", completed_files=4)
    kinds = await watching.end()
    assert kinds == ["snapshot", "snapshot", "snapshot", "job-completed"]


async def test_patience_begins_when_the_connection_is_lost(
    server: Server,
    client: GatewayClient,
    database_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = make_job(database_settings)
    loop = asyncio.get_running_loop()
    watching = Watching(client, job_id, patience=60.0)
    await watching.until(lambda one: one.kind == "snapshot")
    # A quiet hour.
    now = loop.time
    monkeypatch.setattr(client_module, "now", lambda: now() + 3600)
    await server.stop()
    await server.start()
    await watching.until(lambda one: one is not watching.seen[0])
    run(database_settings, "UPDATE cache_jobs SET status = 'cancelled'")
    assert (await watching.end())[-1] == "job-cancelled"


async def test_who_stops_watching_leaves_no_connection_behind(
    server: Server, client: GatewayClient, database_settings: Settings
) -> None:
    job_id = make_job(database_settings)
    async with aclosing(client.watch(job_id)) as changes:
        await anext(changes)
        assert len(server.app[app_keys.SOCKETS]) == 1
    async with asyncio.timeout(PATIENCE):
        while server.app[app_keys.SOCKETS]:
            await asyncio.sleep(0)


async def test_a_message_that_is_none_of_ours_is_a_lost_connection(aiohttp_server: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_bytes(b"\0\1")
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/ws", handler)
    server = await aiohttp_server(app)
    async with GatewayClient(str(server.make_url("/")), KEY) as client:
        with pytest.raises(GatewayClientError, match="cannot be reached"):
            await anext(client.watch(UNKNOWN_ID, patience=0.2))
