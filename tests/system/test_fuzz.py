"""More than 10,000 mangled requests, odd bodies and WebSocket messages: no 5xx, no hang, no fault.

What is tried is the same each time: a case is named by the seed that it is made from.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bench.free_ports import free_port
from gateway.settings import Settings
from support.fuzz_kit import frames, mangled_request, odd_submit
from support.index_rows import add_files
from support.programs import Running, started, until_healthy, variables
from support.raw_http import PATIENCE, UPGRADE, Raw

MANGLED, BODIES, SOCKETS, MESSAGES = 6_000, 2_000, 150, 20
AT_ONCE = 80
# Nobody waits for half a minute for the rest of a request that was cut off.
IMPATIENT = """
import gateway.auth.rate_limits, gateway.http.request_body, gateway.server.connection
gateway.auth.rate_limits.BAD_KEYS_PER_MINUTE = 0
gateway.server.connection.HEAD_SECONDS = gateway.http.request_body.BODY_SECONDS = 1
from gateway.cli import main
main()
"""
STATUS = re.compile(rb"HTTP/\d\.\d (\d\d\d) ")
LAST = b"was that the last one?"
PING = bytes([0x89, 0x80 | len(LAST)]) + b"\0\0\0\0" + LAST


class Target:
    def __init__(self, port: int, running: Running) -> None:
        self.port = port
        self.running = running


@pytest.fixture
async def target(database_settings: Settings, tmp_path: Path) -> AsyncIterator[Target]:
    add_files(database_settings, ["a/1.mov", "a/b/2.mov"])
    environ = variables(
        database_settings, API_GATEWAY_PORT=str(port := free_port()), RATE_LIMIT_PER_MINUTE="0",
        POLL_LIMIT_PER_MINUTE="0", LOG_LEVEL="warning",
    )  # fmt: skip
    with started("-c", IMPATIENT, "serve", environ=environ, folder=tmp_path) as running:
        await until_healthy(f"http://127.0.0.1:{port}")
        yield Target(port, running)
        await until_healthy(f"http://127.0.0.1:{port}")
    assert "Traceback" not in running.output, running.output[:5000]
    assert " ERROR " not in running.output, running.output[:5000]


async def first_status(port: int, request: bytes) -> int | None:
    """The status of the first answer; None if there is none, but the end."""
    raw = await Raw.open(port)
    try:
        async with asyncio.timeout(PATIENCE):
            raw.send(request)
            head = await raw.reader.readuntil(b"\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    finally:
        raw.close()
    found = STATUS.match(head)
    assert found, head
    return int(found[1])


async def try_all(
    port: int, count: int, make: Callable[[random.Random], bytes]
) -> dict[int | None, int]:
    """How often each status was answered."""
    seeds, told = iter(range(count)), dict[int | None, int]()

    async def work() -> None:
        for seed in seeds:
            request = make(random.Random(seed))
            try:
                status = await first_status(port, request)
            except TimeoutError:
                raise AssertionError(f"no answer and no end, seed {seed}: {request!r}") from None
            assert status is None or status < 500, f"{status}, seed {seed}: {request!r}"
            told[status] = told.get(status, 0) + 1

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return told


async def test_mangled_requests(target: Target) -> None:
    told = await try_all(target.port, MANGLED, mangled_request)
    print(told)
    # What is tried reaches beyond the parser.
    assert {200, 201, 400, 401, 404, 408} <= set(told)
    assert sum(told.values()) == MANGLED


async def test_bodies_that_are_nearly_right(target: Target) -> None:
    told = await try_all(target.port, BODIES, odd_submit)
    print(told)
    assert set(told) == {201, 400}


async def test_what_websocket_clients_might_say(target: Target) -> None:
    seeds = iter(range(SOCKETS))
    ended = 0

    async def work() -> None:
        nonlocal ended
        for seed in seeds:
            try:
                is_open = await talk(target.port, random.Random(seed))
            except TimeoutError:
                raise AssertionError(f"no answer and no end, seed {seed}") from None
            ended += not is_open

    await asyncio.gather(*(work() for _ in range(10)))
    print(f"{ended} of {SOCKETS} were closed")
    assert 0 < ended < SOCKETS


async def talk(port: int, chance: random.Random) -> bool:
    """Say twenty things, then a ping; whether that is answered, and the connection stays."""
    raw = await Raw.open(port)
    try:
        async with asyncio.timeout(PATIENCE):
            raw.send(UPGRADE)
            if not (await raw.reader.readline()).startswith(b"HTTP/1.1 101 "):
                return False
            for _ in range(MESSAGES):
                raw.send(frames(chance))
                await raw.writer.drain()
            raw.send(PING)
            await raw.reader.readuntil(bytes([0x8A, len(LAST)]) + LAST)
            return True
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return False
    finally:
        raw.close()
