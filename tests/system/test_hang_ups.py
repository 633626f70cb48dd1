"""10,000 clients that hang up at any moment leave no task, no descriptor, no connection behind."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from aiohttp import ClientSession

from bench.free_ports import free_port
from gateway.settings import Settings
from support.index_rows import add_files
from support.programs import started, until_healthy, variables
from support.raw_http import JOBS, KEY, LIVE, UPGRADE, Raw

CLIENTS = 10_000
AT_ONCE = 100
POOL = 3
NO_LINGER = struct.pack("ii", 1, 0)
SUBMIT = json.dumps({"directories": ["a"]}).encode()
GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\n" + KEY + b"\r\n"
SUBSCRIBE = b'{"type": "subscribe", "channel": "jobs"}'
FILES = "teamcache_gateway_process_open_fds"
FIGURES = (
    FILES,
    "teamcache_gateway_tasks",
    "teamcache_gateway_websocket_clients",
    "teamcache_gateway_database_connections",
)


def frame(payload: bytes) -> bytes:
    """A text frame, masked with nothing."""
    return bytes([0x81, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


async def say_nothing(_raw: Raw) -> None:
    pass


async def begin_a_head(raw: Raw) -> None:
    raw.send(LIVE + b"X-Half: ")


async def begin_a_body(raw: Raw) -> None:
    raw.send(JOBS + b"Content-Length: 99\r\n\r\n" + SUBMIT[:9])
    await asyncio.sleep(0)


async def begin_chunks(raw: Raw) -> None:
    raw.send(JOBS + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{'fil\r\n")


async def ask_and_go(raw: Raw) -> None:
    raw.send(GET % b"/api/v1/cache/jobs")


async def ask_many_and_go(raw: Raw) -> None:
    raw.send(GET % b"/api/v1/health" * 50)
    await raw.reader.read(10)


async def go_while_it_answers(raw: Raw) -> None:
    raw.send(GET % b"/api/v1/openapi.json")
    await raw.reader.read(1000)


async def submit_and_go(raw: Raw) -> None:
    raw.send(JOBS + b"Content-Length: %d\r\n\r\n" % len(SUBMIT) + SUBMIT)


async def upgrade_and_go(raw: Raw) -> None:
    raw.send(UPGRADE)


async def subscribe_and_go(raw: Raw) -> None:
    raw.send(UPGRADE)
    await raw.reader.read(10)
    raw.send(frame(SUBSCRIBE) * 3 + frame(SUBSCRIBE)[:9])


Hanging = Callable[[Raw], Awaitable[None]]
# So many of a hundred each.
MIX: dict[Hanging, int] = {
    say_nothing: 10, begin_a_head: 15, begin_a_body: 20, begin_chunks: 15, ask_and_go: 10,
    ask_many_and_go: 4, go_while_it_answers: 10, submit_and_go: 1, upgrade_and_go: 8,
    subscribe_and_go: 7,
}  # fmt: skip


async def hang_up(port: int, how: Hanging, with_reset: bool) -> None:
    raw = await Raw.open(port)
    with suppress(ConnectionError):
        await how(raw)
        # What was written is on its way.
        await raw.writer.drain()
    if with_reset:
        raw.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER
        )
    raw.close()


async def hang_up_often(port: int, hows: list[Hanging]) -> None:
    chance = random.Random(len(hows))
    while hows:
        await hang_up(port, hows.pop(), chance.random() < 0.5)


async def figures(url: str) -> dict[str, float]:
    headers = {"Accept": "text/plain"}
    async with (
        ClientSession() as session,
        session.get(f"{url}/api/v1/metrics", headers=headers) as answer,
    ):
        text = await answer.text()
    found = {name: re.search(rf"^{name} (\S+)$", text, re.MULTILINE) for name in FIGURES}
    return {name: float(value[1]) for name, value in found.items() if value}


async def test_10_000_clients_that_hang_up_leave_nothing_behind(
    database_settings: Settings, tmp_path: Path
) -> None:
    add_files(database_settings, ["a/1.mov"])
    environ = variables(
        database_settings, API_GATEWAY_PORT=str(port := free_port()), RATE_LIMIT_PER_MINUTE="0",
        DB_POOL_SIZE=str(POOL), POLL_LIMIT_PER_MINUTE="0", LOG_LEVEL="warning",
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with started("-m", "gateway", "serve", environ=environ, folder=tmp_path) as gateway:
        await until_healthy(url)
        hows = [how for how, share in MIX.items() for _ in range(share)]
        # Until everything that is made once is made: all of the pool's connections, too.
        await hang_up_often_at_once(port, hows * 5)
        before = await settled(url)
        await hang_up_often_at_once(port, hows * (CLIENTS // len(hows)))
        async with asyncio.timeout(60):
            while (after := await settled(url)) | {FILES: 0} != before | {FILES: 0}:
                await asyncio.sleep(0.1)
        print(before, after)
    # The pool connects when it has to, so a few may have come late.
    assert after[FILES] <= before[FILES] + POOL + 1
    assert set(before) == set(FIGURES)
    assert before["teamcache_gateway_websocket_clients"] == 0
    assert before["teamcache_gateway_database_connections"] == 0
    assert "Traceback" not in gateway.output, gateway.output[:6000]


async def settled(url: str) -> dict[str, float]:
    """The figures, once no request is under way."""
    async with asyncio.timeout(60):
        while True:
            first = await figures(url)
            await asyncio.sleep(0.5)
            second = await figures(url)
            if first == second and not second["teamcache_gateway_database_connections"]:
                return second


async def hang_up_often_at_once(port: int, hows: list[Hanging]) -> None:
    random.Random(7).shuffle(hows)
    await asyncio.gather(*(hang_up_often(port, hows[n::AT_ONCE]) for n in range(AT_ONCE)))
