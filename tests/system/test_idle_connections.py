"""10,000 connections that say nothing: the others are answered, and each costs little memory."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bench.free_ports import free_port
from gateway.settings import Settings
from support.optional_programs import leave_out
from support.process_memory import memory, reset_peak
from support.programs import started, until_healthy, variables

IDLE = 10_000
ASKING = 8
ROUNDS = 25
KIB_EACH = 32
# A half of them has begun a request and goes no further.
BEGUN = b"POST /api/v1/cache/jobs HTTP/1.1\r\nHost: x\r\nX-"


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """So many for this process, and for those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        yield
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(count, hard)))
    except (ValueError, OSError):
        leave_out(f"needs {count} open files, and ulimit -Hn is {hard}")
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect_idle(port: int, count: int) -> list[socket.socket]:
    found = []
    for number in range(count):
        connection = socket.socket()
        # From several addresses: each has ports of its own.
        connection.bind((f"127.0.0.{2 + number % 4}", 0))
        connection.connect(("127.0.0.1", port))
        if number % 2:
            connection.sendall(BEGUN)
        found.append(connection)
    return found


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EWOULDBLOCK)


async def ask_often(session: ClientSession, url: str) -> int:
    """How many of the answers were right."""
    right = 0
    for _ in range(ROUNDS):
        async with session.get(f"{url}/api/v1/health") as health:
            right += health.status == 200 and (await health.json())["status"] == "healthy"
        async with session.get(f"{url}/api/v1/cache/jobs") as jobs:
            right += jobs.status == 200 and (await jobs.json())["jobs"] == []
    return right


async def answers(url: str, settings: Settings) -> int:
    headers = {"X-API-Key": settings.api_gateway_key.get_secret_value()}
    async with ClientSession(headers=headers) as session:
        return sum(await asyncio.gather(*(ask_often(session, url) for _ in range(ASKING))))


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def until_open(pid: int, least: int) -> None:
    async with asyncio.timeout(60):
        while open_files(pid) < least:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("places", [IDLE + 100, 2_000])
async def test_10_000_idle_connections_hold_up_nobody(
    database_settings: Settings, tmp_path: Path, places: int, record_property: object
) -> None:
    """With a place for each, and with places for a fifth of them: the others made room then."""
    environ = variables(
        database_settings, API_GATEWAY_PORT=str(port := free_port()), RATE_LIMIT_PER_MINUTE="0",
        MAX_CONNECTIONS=str(places), LOG_LEVEL="warning",
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with (
        descriptors(IDLE + 500),
        started("-m", "gateway", "serve", environ=environ, folder=tmp_path) as gateway,
    ):
        pid = gateway.process.pid
        await until_healthy(url)
        await answers(url, database_settings)
        before, held = reset_peak(pid), open_files(pid)
        idle = await asyncio.to_thread(connect_idle, port, IDLE)
        try:
            kept = min(IDLE, places - 200)
            await until_open(pid, held + kept - 50)
            assert await answers(url, database_settings) == 2 * ROUNDS * ASKING
            assert open_files(pid) <= held + places + 100
            growth = (memory(pid, "VmRSS") - before) / 1024 / min(IDLE, places)
            still_open = sum(map(is_open, idle))
        finally:
            for connection in idle:
                connection.close()
        print(f"{IDLE} idle, {still_open} kept, {growth:.1f} KiB each")
        assert kept - 100 <= still_open <= places
        assert growth < KIB_EACH
        assert await answers(url, database_settings) == 2 * ROUNDS * ASKING
    assert "Traceback" not in gateway.output
    assert "connections are busy" not in gateway.output


def test_a_process_asks_for_all_the_descriptors_that_it_may_have() -> None:
    code = (
        "import resource; from gateway.runtime.process import run; import asyncio;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1000));"
        "run(asyncio.sleep(0)); print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "(1000, 1000)"


def test_a_connection_that_is_closed_is_seen_to_be() -> None:
    one, other = socket.socketpair()
    with closing(one):
        assert is_open(one)
        other.close()
        assert not is_open(one)
