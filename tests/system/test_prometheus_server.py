"""A real Prometheus scrapes the gateway, by the scrape configuration that users have."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bench.free_ports import free_port
from support.optional_programs import require_program

PATIENCE = 60.0
CONFIGURATION = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: 'teamcache-api'
    static_configs:
      - targets: ['api-gateway:8095']
    metrics_path: '/api/v1/metrics'
"""


class Server:
    """A Prometheus that runs."""

    def __init__(self, session: aiohttp.ClientSession, process: subprocess.Popen[bytes]) -> None:
        self._session = session
        self._process = process

    async def get(self, path: str, **parameters: str) -> Any:
        """Ask its HTTP API; None while it does not answer yet."""
        assert self._process.poll() is None, "prometheus has ended"
        try:
            async with self._session.get(path, params=parameters) as answer:
                return (await answer.json())["data"] if answer.status == 200 else None
        except aiohttp.ClientConnectionError:
            return None

    async def target(self) -> Any:
        """Its one target, as soon as that was scraped."""
        async with asyncio.timeout(PATIENCE):
            while True:
                targets = await self.get("/api/v1/targets")
                active = targets["activeTargets"] if targets else []
                if active and active[0]["health"] != "unknown":
                    return active[0]
                await asyncio.sleep(0.1)

    async def query(self, expression: str, wanted: float) -> None:
        """Wait until an expression has one series with the value that is wanted."""
        found: Any = None
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    found = (await self.get("/api/v1/query", query=expression) or {}).get("result")
                    if found and len(found) == 1 and float(found[0]["value"][1]) == wanted:
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{expression} is {found}, not {wanted}") from None


@asynccontextmanager
async def prometheus(folder: Path, target: str) -> AsyncIterator[Server]:
    """A Prometheus of our own, on loopback, that scrapes the target each second."""
    program = require_program("prometheus")
    configuration = folder / "prometheus.yml"
    configuration.write_text(CONFIGURATION.replace("api-gateway:8095", target))
    port = free_port()
    command = [
        program, f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        process = subprocess.Popen(command, cwd=folder)
        try:
            yield Server(session, process)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, PATIENCE)


async def test_a_real_prometheus_reports_the_gateway_up_and_its_series(
    api: Any, tmp_path: Path
) -> None:
    await api.post("/api/v1/cache/jobs", json={"files": ["a.mov"]})
    async with prometheus(tmp_path, f"{api.host}:{api.port}") as server:
        target = await server.target()
        assert (target["health"], target["lastError"]) == ("up", "")
        assert target["scrapeUrl"] == f"http://{api.host}:{api.port}/api/v1/metrics"
        await server.query('up{job="teamcache-api"}', 1)
        await server.query('teamcache_gateway_jobs{status="pending"}', 1)
        await server.query("teamcache_gateway_requests_total{method='POST',status='201'}", 1)
        await server.query("teamcache_gateway_monitor_healthy{monitor='schema'}", 1)
        await api.post("/api/v1/cache/jobs", json={"files": ["b.mov"]})
        await server.query('teamcache_gateway_jobs{status="pending"}', 2)
        metadata = await server.get("/api/v1/metadata", metric="teamcache_gateway_requests")
        assert metadata["teamcache_gateway_requests"][0]["type"] == "counter"


async def test_promtool_finds_nothing_wrong_with_the_text(api: Any) -> None:
    promtool = require_program("promtool")
    text = await (await api.get("/api/v1/metrics", headers={"Accept": "text/plain"})).text()
    result = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
