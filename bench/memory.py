"""Memory: what a job of any size adds to the process at the most, its submit and polls included."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

from bench.free_ports import free_port
from bench.measure import Measure
from bench.stage import gateway_process, scratch_folder, stage
from bench.submit import ALL, DIRECTORIES, ROOT, fill
from gateway.client import GatewayClient
from gateway.settings import Settings

GOAL_MB = 30.0
POLLS = 200
HIGHEST = re.compile(r"VmHWM:\s+(\d+) kB")


async def measure(rounds: int) -> AsyncIterator[Measure]:
    """The highest mark of the process after a job, above the mark after a job of one file."""
    with scratch_folder() as folder:
        async with stage(folder, Path(ROOT)) as settings:
            await asyncio.to_thread(fill, settings)
            for files in DIRECTORIES:
                grown = [await _grown(settings, files) for _ in range(rounds if files < ALL else 2)]
                yield Measure(
                    "memory after a job", "files", files, "30 MB", GOAL_MB, grown, unit="MB"
                )


async def _grown(settings: Settings, files: int) -> float:
    async with gateway_process(settings, free_port()) as (client, pid):
        await _use(client, 1)
        before = _highest_mark(pid)
        await _use(client, files)
        return _highest_mark(pid) - before


async def _use(client: GatewayClient, files: int) -> None:
    job = await client.submit(directories=[DIRECTORIES[files]])
    for _ in range(POLLS):
        assert (await client.status(job.id)).total_files == files
    jobs, _total = await client.jobs()
    assert jobs[0].id == job.id


def _highest_mark(pid: int) -> float:
    """The most that the process ever had in memory, in MB."""
    found = HIGHEST.search(Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
