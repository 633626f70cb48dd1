"""Start: from the command to the first answer that all is well, against aiohttp alone."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator

from bench.free_ports import free_port
from bench.http_load import ask
from bench.measure import Measure, compare
from bench.stage import end, scratch_folder, stage, start_gateway
from gateway.settings import Settings

GOAL_SECONDS = 1.0
LOOK_SECONDS = 0.005
BARE = """
import sys
from aiohttp import web
async def empty(request):
    return web.Response(body=b"{}", content_type="application/json")
app = web.Application()
app.router.add_get("/api/v1/health", empty)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


async def measure(rounds: int) -> AsyncIterator[Measure]:
    """Each time a process of its own, with what it reads in the page cache."""
    with scratch_folder() as folder:
        async with stage(folder, folder) as settings:
            taken = await compare(
                "start until healthy", "aiohttp alone", (1, "process"), None,
                lambda: _ours(settings), _bare, rounds,
            )  # fmt: skip
            yield taken
            yield Measure("start until healthy", "process", 1, "1 s", GOAL_SECONDS, taken.ours)


async def _ours(settings: Settings) -> float:
    port, started = free_port(), time.perf_counter()
    return await _until_healthy(await start_gateway(settings, port), port, started)


async def _bare() -> float:
    port, started = free_port(), time.perf_counter()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", BARE, str(port))
    return await _until_healthy(process, port, started)


async def _until_healthy(process: asyncio.subprocess.Process, port: int, started: float) -> float:
    try:
        while process.returncode is None:
            try:
                await ask(port, "/api/v1/health", {}, requests=1, connections=1)
                return time.perf_counter() - started
            except (OSError, AssertionError):
                await asyncio.sleep(LOOK_SECONDS)
        raise RuntimeError("The server did not start")
    finally:
        await end(process)
