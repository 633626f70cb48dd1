"""Standalone publishes its worker's throughput once a second, on /ws and in the job."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bench.free_ports import free_port
from gateway.settings import DEMO_KEY
from support.database import make_public_folder

PATIENCE = 60.0


@asynccontextmanager
async def standalone(media: Path, data: Path) -> AsyncIterator[str]:
    """A standalone gateway that reads slowly; gives its URL once its index is complete."""
    port = free_port()
    command = [
        sys.executable, "-m", "gateway", "standalone", "--media", media, "--port", str(port),
        "--data-dir", data, "--worker-chunk-size", "4096", "--worker-concurrency", "1",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield await _indexed(f"http://127.0.0.1:{port}", process)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PATIENCE) == 0


async def _indexed(url: str, process: subprocess.Popen[bytes]) -> str:
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
        while process.poll() is None:
            try:
                async with session.get(f"{url}/api/v1/health") as answer:
                    if (await answer.json()).get("index", {}).get("status") == "ready":
                        return url
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)
    raise AssertionError("the gateway did not start")


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    """A folder with one file that takes long to read, a page at a time, and no room on the disk."""
    with (tmp_path / "large.mov").open("wb") as file:
        file.truncate(64 << 30)
    return tmp_path


async def test_while_a_job_runs_standalone_tells_its_throughput_again_and_again(
    large_file: Path,
) -> None:
    headers = {"X-API-Key": DEMO_KEY}
    with make_public_folder() as folder:
        async with (
            standalone(large_file, folder / "data") as url,
            aiohttp.ClientSession(url, headers=headers) as session,
            session.ws_connect("/ws") as socket,
            asyncio.timeout(PATIENCE),
        ):
            assert (await socket.receive_json())["lucidLink"]["throughputMbps"] == 0
            async with session.post("/api/v1/cache/jobs", json={"files": ["large.mov"]}) as created:
                job = f"/api/v1/cache/jobs/{(await created.json())['jobId']}"
            rates = [await next_rate(socket) for _ in range(3)]
            async with session.get(job) as answer:
                shown = (await answer.json())["job"]["throughput"]
            async with session.delete(job) as cancelled:
                assert cancelled.status == 200
            while await next_rate(socket) > 0:
                pass
    assert all(rate > 0 for rate in rates[1:]), rates
    assert shown["mbps"] > 0


async def next_rate(socket: Any) -> float:
    message = await socket.receive_json()
    assert message["type"] == "lucidlink-stats"
    rate: float = message["lucidLink"]["throughputMbps"]
    return rate
