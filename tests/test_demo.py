"""``demo`` as a process: what a newcomer sees first."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from processes import environment, run_command, running_command

from gateway.embedded_postgres.shutdown import find_servers


async def test_the_demo_shows_a_job_from_nothing_to_completed(public_folder: Path) -> None:
    arguments = ("demo", "--once", "--data-dir", public_folder / "demo")
    code, output, lines = await run_command(*arguments, env=environment(), cwd=public_folder)
    assert code == 0, lines
    assert "Completed: 252 of 252 files are in the cache." in output
    assert "curl http://127.0.0.1:" in output
    assert not find_servers(public_folder / "demo" / "data" / "postgres")


async def test_a_demo_whose_gateway_cannot_start_ends_with_its_reason(
    public_folder: Path,
) -> None:
    data = public_folder / "demo" / "data" / "postgres"
    data.mkdir(parents=True)
    (data / "not a cluster").touch()
    arguments = ("demo", "--once", "--data-dir", public_folder / "demo")
    code, _, lines = await run_command(*arguments, env=environment(), cwd=public_folder)
    assert code == 1
    assert "is not empty and no PostgreSQL cluster" in lines[-1]


async def test_a_demo_that_is_stopped_half_way_ends_its_gateway(public_folder: Path) -> None:
    arguments = ("demo", "--once", "--data-dir", public_folder / "demo")
    async with running_command(*arguments, env=environment(), cwd=public_folder) as demo:
        log = public_folder / "demo" / "gateway.log"
        async with asyncio.timeout(60):
            while not (log.exists() and "listening" in log.read_text()):
                await asyncio.sleep(0.05)
        demo.send(signal.SIGINT)
        code = await demo.end()
    assert code in (0, 1)
    assert not find_servers(public_folder / "demo" / "data" / "postgres")
