"""The backend's metrics and file events in the API."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.http.app_keys import METRICS
from support.backend_messages import FILE, STATS, VARNISH
from support.backend_server import PATIENCE, backend_server
from support.database import StartApi
from support.index_rows import run


async def test_the_api_serves_the_backends_metrics(
    start_api: StartApi,
) -> None:
    async with backend_server() as backend:
        api = await start_api(backend_ws_url=backend.url)
        await backend.connected()
        async with api.ws_connect("/ws") as socket, asyncio.timeout(PATIENCE):
            assert (await socket.receive_json())["lucidLink"]["throughputMbps"] == 0
            await backend.send(STATS, VARNISH)
            update = await socket.receive_json()
            assert update["lucidLink"]["throughputMbps"] == 25.6
            varnish = await socket.receive_json()
            assert varnish["varnish"]["usagePercentage"] == 75
        metrics = (await (await api.get("/api/v1/metrics")).json())["metrics"]
    assert metrics["lucidLink"] == update["lucidLink"]
    assert metrics["varnish"] == varnish["varnish"]


async def test_a_running_job_shows_throughput_while_it_is_fresh(
    start_api: StartApi, database_settings: Any
) -> None:
    async with backend_server() as backend:
        api = await start_api(backend_ws_url=backend.url)
        body = {"files": ["a.mov"]}
        created = await (await api.post("/api/v1/cache/jobs", json=body)).json()
        url = f"/api/v1/cache/jobs/{created['jobId']}"
        now = [50.0]
        api.app[METRICS]._clock = lambda: now[0]
        async with api.ws_connect("/ws") as socket, asyncio.timeout(PATIENCE):
            await socket.receive_json()
            await backend.connected()
            await backend.send(STATS)
            sample = (await socket.receive_json())["lucidLink"]
        assert (await (await api.get(url)).json())["job"]["throughput"] is None
        run(database_settings, "UPDATE cache_jobs SET status = 'running', started_at = now()")
        async with asyncio.timeout(PATIENCE):
            while (await (await api.get(url)).json())["job"]["status"] != "running":
                await asyncio.sleep(0.01)
        now[0] += 9.9
        throughput = (await (await api.get(url)).json())["job"]["throughput"]
        assert throughput == {
            "mbps": 25.6,
            "readable": "25.6 MB/s",
            "timestamp": sample["timestamp"],
        }
        now[0] += 0.2
        assert (await (await api.get(url)).json())["job"]["throughput"] is None


async def test_subscribers_to_a_jobs_files_get_their_events(start_api: StartApi) -> None:
    async with backend_server() as backend:
        api = await start_api(backend_ws_url=backend.url)
        await backend.connected()
        body = {"files": ["00_Media/a.mov"]}
        created = await (await api.post("/api/v1/cache/jobs", json=body)).json()
        wanted = {"channel": "job", "jobId": created["jobId"], "files": True}
        async with api.ws_connect("/ws") as socket, asyncio.timeout(PATIENCE):
            await socket.receive_json()
            await socket.send_json({"type": "subscribe", **wanted})
            while (await socket.receive_json())["type"] != "snapshot":
                pass
            await backend.send(FILE | {"jobId": created["jobId"]})
            while (message := await socket.receive_json())["type"] != "file-completed":
                pass
    assert message["filePath"] == "00_Media/a.mov"
