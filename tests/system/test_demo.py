"""``demo`` as a process: what a newcomer sees first."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bench.free_ports import free_port
from gateway.standalone.postgres.shutdown import find_servers
from support.cli_kit import line_with
from support.processes import environment, run_command, running_command
from support.terminals import on_terminal


async def test_the_demo_shows_a_job_from_nothing_to_completed(public_folder: Path) -> None:
    arguments = ("demo", "--once", "--data-dir", public_folder / "demo")
    code, output, lines = await run_command(*arguments, env=environment(), cwd=public_folder)
    assert code == 0, lines
    assert "Completed: 258 of 258 files are in the cache." in output
    assert output.endswith("The gateway has stopped.\n")
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_demo_that_is_stopped_while_it_starts_says_so_and_no_more(
    public_folder: Path, number: signal.Signals
) -> None:
    arguments = ("demo", "--once", "--data-dir", public_folder / "demo")
    async with running_command(*arguments, env=environment(), cwd=public_folder) as demo:
        async with asyncio.timeout(60):
            while not list(public_folder.glob("demo/gateway-*.log")):
                await asyncio.sleep(0.01)
        demo.send(number)
        assert await demo.end() == 1
    assert demo.lines == ["Stopped before the job was completed"]
    assert not find_servers(public_folder / "demo" / "data" / "postgres")


async def test_a_second_demo_says_what_is_in_use_and_leaves_the_first_ones_log(
    public_folder: Path,
) -> None:
    folder = public_folder / "demo"
    port = free_port()
    async with on_terminal(
        "demo", "--data-dir", folder, "--port", port, cwd=public_folder
    ) as first:
        await first.shows("Serving until Ctrl-C.")
        code, output, lines = await run_command(
            *("demo", "--once", "--data-dir", folder), env=environment(), cwd=public_folder
        )
        assert code == 1
        assert lines[-1].startswith(
            f"Error: The gateway did not start: The data folder {folder}/data is in use by another"
        )
        assert lines[-1].endswith("stop that one, or choose another folder with --data-dir")
        assert "Gateway:" not in output
        assert "listening on" in (folder / f"gateway-{port}.log").read_text()


async def test_on_a_terminal_it_serves_until_ctrl_c_and_says_that_it_has_stopped(
    public_folder: Path,
) -> None:
    folder = public_folder / "demo"
    async with (
        usual_port_taken(),
        on_terminal("demo", "--data-dir", folder, cwd=public_folder) as demo,
    ):
        await demo.shows("Serving until Ctrl-C.")
        [port] = re.findall(r"8095 is in use, so the gateway listens on (\d+)", demo.text)
        assert f"Gateway:       http://127.0.0.1:{port}" in demo.text
        assert f"curl http://127.0.0.1:{port}/api/v1/health" in demo.text
        assert f"Kept in:       {folder}" in demo.text
        assert re.search(r"6\.03 GB/6\.03 GB", demo.text)
        assert not re.search(r"[KMG]iB|kB", demo.text)
        demo.process.send_signal(signal.SIGINT)
        await demo.shows("The gateway has stopped.")
        assert await demo.process.wait() == 0
    assert not find_servers(folder / "data" / "postgres")


async def test_without_a_terminal_it_serves_on_too_and_names_the_dashboard(
    public_folder: Path,
) -> None:
    arguments = ("demo", "--data-dir", public_folder / "demo")
    async with running_command(*arguments, env=environment(), cwd=public_folder) as demo:
        line = await line_with(demo.process, "Dashboard: ")
        [url] = re.findall(r"http://127\.0\.0\.1:\d+/", line)
        async with aiohttp.ClientSession() as session, session.get(url) as page:
            assert page.status == 200
        await line_with(demo.process, "Serving until Ctrl-C.")
        demo.send(signal.SIGTERM)
        assert await demo.end() == 0


@contextlib.asynccontextmanager
async def usual_port_taken() -> AsyncIterator[None]:
    """Listen where the demo would. Another test's demo may do so for a while; one that does so for
    longer is somebody's own, and serves as well.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(40):
                while not (server := listen_on(8095)):
                    await asyncio.sleep(0.1)
                stack.enter_context(server)
        yield


def listen_on(port: int) -> socket.socket | None:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None
