"""The gateway inside another aiohttp service, under a prefix."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web

import gateway.app
from bench.free_ports import free_port
from gateway import Settings, create_app
from gateway.client import GatewayClient, GatewayClientError
from gateway.monitors.loop import running
from support import ROOT
from support.database import UNLIMITED, change, wait_until_ready
from support.index_rows import add_files, run
from support.programs import started, variables
from support.signing_kit import known_to, make_signer

JOBS = "/cache/api/v1/cache/jobs"
HEALTH = "/cache/api/v1/health"
KEY = {"X-API-Key": "demo-api-key-2024"}
ORIGIN = "https://dashboard.example"


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="the host's own")


def make_host(*mounted: tuple[str, web.Application]) -> web.Application:
    host = web.Application(client_max_size=1000)
    host.router.add_get("/", hello)
    for prefix, app in mounted:
        host.add_subapp(prefix, app)
    return host


@pytest.fixture
def settings(database_settings: Settings) -> Settings:
    settings = change(database_settings, UNLIMITED)
    add_files(settings, ["a/1.mov", "a/2.mov"])
    return settings


@pytest.fixture
async def host(aiohttp_client: Any, settings: Settings) -> Any:
    client = await aiohttp_client(make_host(("/cache", create_app(settings))))
    await wait_until_ready(client, HEALTH)
    return client


async def test_a_signed_request_is_one_for_the_url_that_the_client_wrote(
    host: Any, settings: Settings
) -> None:
    signer = await make_signer(settings)
    await known_to(host.server.app._subapps[0], signer)
    for path, status in ((JOBS, 200), (JOBS.removeprefix("/cache"), 401)):
        headers = signer.sign("GET", f"{host.make_url(path)}?limit=1")
        assert (await host.get(f"{JOBS}?limit=1", headers=headers)).status == status


async def test_every_route_works_under_the_prefix(host: Any) -> None:
    created = await host.post(JOBS, json={"directories": ["a"]}, headers=KEY)
    assert created.status == 201
    location = created.headers["Location"]
    assert location == f"{JOBS}/{(await created.json())['jobId']}"
    assert (await host.get(location, headers=KEY)).status == 200
    assert (await (await host.get(JOBS, headers=KEY)).json())["total"] == 1
    assert (await host.delete(location, headers=KEY)).status == 200
    for path in ("/cache/livez", "/cache/api/v1/metrics", "/cache/api/v1/metrics/s3"):
        assert (await host.get(path)).status == 200


async def test_the_hosts_own_limit_on_bodies_is_not_ours(host: Any) -> None:
    names = ["a/1.mov"] * 10_000
    assert (await host.post(JOBS, json={"files": names}, headers=KEY)).status == 201


async def test_keys_are_asked_for_inside_and_not_outside(host: Any) -> None:
    assert (await host.get(JOBS)).status == 401
    response = await host.get("/")
    assert (response.status, await response.text()) == (200, "the host's own")
    assert "X-Request-ID" not in response.headers


async def test_what_does_not_exist_is_told_in_json_inside_the_prefix_alone(host: Any) -> None:
    response = await host.get("/cache/nowhere")
    assert (response.status, await response.json()) == (
        404,
        {"success": False, "error": "Not found"},
    )
    assert (await host.put(JOBS)).status == 405
    assert (await host.put(JOBS)).content_type == "application/json"
    outside = await host.get("/nowhere")
    assert (outside.status, outside.content_type) == (404, "text/plain")


async def test_pages_of_other_origins_may_call_inside_and_not_outside(host: Any) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key",
    }
    assert (await host.options(JOBS, headers=asked)).status == 200
    for path in (JOBS, "/cache/nowhere"):
        response = await host.get(path, headers={"Origin": ORIGIN})
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    outside = await host.get("/", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in outside.headers


async def test_the_client_finds_the_gateway_under_its_prefix(host: Any) -> None:
    for url in (host.make_url("/cache"), host.make_url("/cache/")):
        async with GatewayClient(str(url), KEY["X-API-Key"]) as client:
            job = await client.submit(files=["a/1.mov"])
            assert (await client.status(job.id)).total_files == 1
            with pytest.raises(GatewayClientError, match="Job not found"):
                await client.status("6bb4629b-1487-477c-96fe-b762d82a099b")


async def wait_until_disconnected(settings: Settings) -> None:
    """Look until no connection of the gateway's is left: PostgreSQL notices in its own time."""
    count = (
        "SELECT count(*) AS connections FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with asyncio.timeout(30):
        while run(settings, count)[0].connections:
            await asyncio.sleep(0)


def our_tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if "monitor" in task.get_name()]


async def test_its_connections_open_and_close_with_the_host(
    aiohttp_client: Any, settings: Settings
) -> None:
    client = await aiohttp_client(make_host(("/cache", create_app(settings))))
    await wait_until_ready(client, HEALTH)
    assert our_tasks()
    await client.close()
    assert our_tasks() == []
    await wait_until_disconnected(settings)


@pytest.mark.usefixtures("still_clock")
async def test_two_gateways_live_in_one_host(aiohttp_client: Any, settings: Settings) -> None:
    other = change(settings, {"api_gateway_key": "other", "rate_limit_per_minute": 1})
    client = await aiohttp_client(
        make_host(("/one", create_app(settings)), ("/two", create_app(other)))
    )
    one, two = "/one/api/v1/cache/jobs", "/two/api/v1/cache/jobs"
    await wait_until_ready(client, "/one/api/v1/health")
    await wait_until_ready(client, "/two/api/v1/health")
    assert (await client.get(one, headers=KEY)).status == 200
    assert (await client.get(two, headers=KEY)).status == 401
    for status in (200, 429):
        assert (await client.get(two, headers={"X-API-Key": "other"})).status == status
    assert (await client.get(one, headers=KEY)).status == 200
    await client.close()
    assert our_tasks() == []
    await wait_until_disconnected(settings)


async def test_a_start_that_fails_half_way_closes_what_it_opened(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[str] = []

    @asynccontextmanager
    async def failing(monitor: Any, heartbeats: Any) -> AsyncIterator[None]:
        if entered:
            raise RuntimeError("no more")
        entered.append(monitor.name)
        async with running(monitor, heartbeats):
            yield

    monkeypatch.setattr(gateway.app, "running", failing)
    runner = web.AppRunner(make_host(("/cache", create_app(settings))))
    with pytest.raises(RuntimeError, match="no more"):
        await runner.setup()
    assert entered
    assert our_tasks() == []
    await wait_until_disconnected(settings)
    await runner.cleanup()


def test_the_example_runs(settings: Settings, tmp_path: Path) -> None:
    port = free_port()
    example = ROOT / "examples" / "embed.py"
    with started(example, environ=variables(settings, PORT=str(port)), folder=tmp_path) as service:
        service.wait_for("Running on")
        url = f"http://127.0.0.1:{port}"
        assert requests.get(url, timeout=30).json()["cache"] == "/cache/api/v1"
        while requests.get(f"{url}{HEALTH}", timeout=30).status_code != 200:
            pass
        created = requests.post(
            f"{url}{JOBS}", json={"directories": ["a"]}, headers=KEY, timeout=30
        )
        assert created.json()["totalFiles"] == 2
        assert requests.get(f"{url}{created.headers['Location']}", headers=KEY, timeout=30).ok
    assert service.process.returncode == 0
