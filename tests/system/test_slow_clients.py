"""Clients that never read: the others miss nothing, and the process does not grow."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from gateway.settings import Settings
from support import ROOT
from support.process_memory import memory, reset_peak
from support.raw_http import connect_raw
from support.slow_clients_server import JOBS

EVENTS = 20_000
DEAF = 200
READING = 10
MIB = 1024 * 1024


class Server:
    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.pid = process.pid
        self.port = port
        self._process = process

    async def publish(self, count: int) -> tuple[int, int]:
        """Publish events; returns how many clients there are and how many events they lost."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"%d\n" % count)
        clients, dropped = (await self._process.stdout.readline()).split()
        return int(clients), int(dropped)


@asynccontextmanager
async def serving(settings: Settings, loop_kind: str) -> AsyncIterator[Server]:
    values = settings.model_dump(mode="json")
    for name in ("api_gateway_key", "db_password"):
        values[name] = getattr(settings, name).get_secret_value()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, ROOT / "tests" / "support" / "slow_clients_server.py"),
        *(json.dumps(values), loop_kind),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Server(process, int(await process.stdout.readline()))
    finally:
        process.stdin.close()
        async with asyncio.timeout(30):
            await process.wait()


class Reader:
    """A client that reads, and notes the newest of each kind and job."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.newest: dict[tuple[str, str], int] = {}
        self.kept = 0
        self.dropped = 0

    async def read(self) -> None:
        """Until the last event."""
        async for message in self._socket:
            told = json.loads(message.data)
            if told["type"] == "events-dropped":
                self.dropped += told["count"]
            elif told["type"] != "metrics":
                self._note(told)
                if told["number"] == EVENTS - 1:
                    return

    def _note(self, told: dict[str, Any]) -> None:
        key = told["type"], told["jobId"]
        assert told["number"] > self.newest.get(key, -1)
        self.newest[key] = told["number"]
        self.kept += told["type"] == "job-completed"


def newest_of_all() -> dict[tuple[str, str], int]:
    numbers = range(EVENTS)
    kinds = ("job-progress", "job-completed")
    return {(kinds[n % 10 == 0], str(n % JOBS)): n for n in numbers}


@pytest.mark.parametrize("loop_kind", ["uvloop", "asyncio"])
async def test_200_clients_that_never_read_cost_little_and_10_that_do_miss_nothing_newest(
    database_settings: Settings, loop_kind: str, record_property: Any
) -> None:
    async with serving(database_settings, loop_kind) as server, AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        url = f"http://127.0.0.1:{server.port}/ws"
        deaf = [await connect_raw("127.0.0.1", server.port) for _ in range(DEAF)]
        for connection in deaf:
            stack.callback(connection.close)
        readers = [
            Reader(await stack.enter_async_context(session.ws_connect(url))) for _ in range(READING)
        ]
        while (await server.publish(0))[0] < DEAF + READING:
            pass
        before = reset_peak(server.pid)
        async with asyncio.timeout(100):
            (clients, dropped), *_ = await asyncio.gather(
                server.publish(EVENTS), *(reader.read() for reader in readers)
            )
        growth = memory(server.pid, "VmHWM") - before
    record_property("growth_mib", growth / MIB)
    print(f"{loop_kind}: {growth / MIB:.1f} MiB for {DEAF} deaf clients, dropped {dropped}")
    assert clients == DEAF + READING
    assert dropped > 0
    assert growth < 80 * MIB
    for reader in readers:
        assert reader.newest == newest_of_all()
        assert reader.kept + reader.dropped >= EVENTS // 10
