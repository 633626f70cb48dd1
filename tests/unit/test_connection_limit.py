"""Slow, silent and many clients: each is bounded in time, all of them in number."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from gateway.http import app_keys, request_body
from gateway.server import connection, connection_limit
from gateway.server.connection_limit import Admission, ConnectionLimiter
from gateway.settings import Settings
from support.raw_http import JOBS, KEY, LIVE, PATIENCE, Raw, serving

WHOLE = LIVE + b"\r\n"
BUSY = JOBS + b"Content-Length: 99\r\n\r\n{"
FULL = connection.FULL_SENTENCE


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serving() as (_, port):
        yield port


async def drip(raw: Raw, data: bytes, until: Coroutine[Any, Any, Any]) -> Any:
    """Send one byte after the other until the other side has said what is waited for."""
    waiting = asyncio.create_task(until)
    while not waiting.done():
        raw.send(data)
        await asyncio.sleep(0.02)
    return await waiting


async def test_a_body_that_drips_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "BODY_SECONDS", 0.3)
    raw = await Raw.open(port)
    raw.send(JOBS + b"Content-Length: 100000\r\n\r\n{")
    assert (await drip(raw, b" ", raw.answer()))[0] == 408
    raw.close()


async def test_a_body_that_comes_steadily_may_take_longer(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(request_body, "BODY_RATE", 1)
    raw = await Raw.open(port)
    raw.send(JOBS + b"Content-Length: 100\r\n\r\n" + b"{}".ljust(10))
    # Far longer than 0.3 s in all: each byte buys a second.
    for _ in range(90):
        await asyncio.sleep(0.01)
        raw.send(b" ")
    status, body = await raw.answer()
    assert status != 408, body
    raw.close()


async def test_a_body_that_stops_is_not_waited_for_because_much_of_it_came(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(request_body, "BODY_RATE", 1)
    raw = await Raw.open(port)
    status, _ = await raw.ask(JOBS + b"Content-Length: 100000\r\n\r\n" + b"{" * 50_000)
    assert status == 408
    raw.close()


@pytest.mark.parametrize("asked_before", [False, True])
async def test_a_head_that_drips_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch, asked_before: bool
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    raw = await Raw.open(port)
    if asked_before:
        assert (await raw.ask(WHOLE))[0] == 200
    raw.send(LIVE + b"X: ")
    assert await drip(raw, b"y", raw.end()) == b""
    raw.close()


async def test_a_later_head_has_the_same_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    raw, loop = await Raw.open(port), asyncio.get_running_loop()
    assert (await raw.ask(WHOLE))[0] == 200
    await asyncio.sleep(0.2)
    begun = loop.time()
    raw.send(LIVE)
    assert await raw.end() == b""
    assert loop.time() - begun >= 0.5
    raw.close()


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(200)) + b"\r\n",
        b"X: " + b"y" * 20_000,
        b"y" * 20_000,
        b"Cookie: " + b"a=b; " * 2_000_000,
    ],
    ids=["many fields", "a field without an end", "a name without an end", "10 MB"],
)
async def test_a_giant_head_is_refused(port: int, head: bytes) -> None:
    other, raw = await Raw.open(port), await Raw.open(port)
    raw.send(LIVE + head)
    # A client that goes on sending may lose the answer to the reset of its connection.
    said = await raw.end()
    assert b" 400 " in said or not said
    assert (await other.ask(WHOLE))[0] == 200
    raw.close()
    other.close()


async def test_an_answer_that_nobody_takes_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_limit, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(connection, "ANSWER_RATE", 1 << 30)
    async with serving() as (_, port):
        other = await Raw.open(port)
        assert (await other.ask(WHOLE))[0] == 200
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        ask = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        await asyncio.to_thread(deaf.sendall, ask * 300)
        # The whole connection ends, its task too, and the others are answered meanwhile.
        async with asyncio.timeout(PATIENCE):
            while served() < 2:
                await asyncio.sleep(0)
            while served() > 1:
                assert (await other.ask(WHOLE))[0] == 200
        other.close()
        deaf.close()


def served() -> int:
    """How many connections have a task; monitors have tasks too, which come and go."""
    coroutines = (task.get_coro() for task in asyncio.all_tasks())
    return sum(it.__qualname__ == "RequestHandler.start" for it in coroutines if it)


async def fill(port: int, count: int, request: bytes) -> list[Raw]:
    filled = [await Raw.open(port) for _ in range(count)]
    for raw in filled:
        raw.send(request)
    return filled


async def test_idle_connections_make_room_for_newcomers_the_longest_idle_first() -> None:
    async with serving(max_connections=4) as (_, port):
        idle = []
        for _ in range(4):
            idle.append(await Raw.open(port))
            assert (await idle[-1].ask(WHOLE))[0] == 200
        newcomers = []
        for _ in range(3):
            newcomers.append(await Raw.open(port))
            assert (await newcomers[-1].ask(WHOLE))[0] == 200
        for raw in idle[:3]:
            assert await raw.end() == b""
        for raw in (*idle[3:], *newcomers):
            assert (await raw.ask(WHOLE))[0] == 200
            raw.close()


async def test_where_all_are_busy_health_is_answered_and_others_are_told_to_come_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(max_connections=3) as (app, port):
        app[app_keys.READINESS].reason = None
        busy = await fill(port, 3, BUSY)
        await until_busy(app, port)
        for path, status in (
            (b"/livez", 200),
            (b"/api/v1/health", 503),
            (b"/api/v1/metrics", 503),
            (b"/ws", 503),
        ):
            raw = await Raw.open(port)
            got, body = await raw.ask(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            assert (got, (json.loads(body).get("error") == FULL)) == (
                status,
                path in (b"/api/v1/metrics", b"/ws"),
            )
            assert await raw.end() == b""
        busy.pop().close()
        await until_served(port)
        for raw in busy:
            raw.close()
    assert caplog.text.count("All 3 connections are busy") == 1


async def test_a_connection_is_busy_while_the_rest_of_a_refused_body_comes() -> None:
    async with serving(max_connections=1) as (app, port):
        raw = await Raw.open(port)
        assert (await raw.ask(BUSY.replace(KEY, b"X-API-Key: wrong\r\n")))[0] == 401
        await until_busy(app, port)
        raw.send(b"}".ljust(98))
        await until_served(port)
        assert await raw.end() == b""
        raw.close()


async def until_busy(app: Any, port: int) -> None:
    """Until a newcomer is told that there is no room."""
    async with asyncio.timeout(PATIENCE):
        while True:
            raw = await Raw.open(port)
            status, _ = await raw.ask(b"GET /api/v1/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            raw.close()
            if status == 503:
                return


async def until_served(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            raw = await Raw.open(port)
            status, _ = await raw.ask(b"GET /api/v1/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            raw.close()
            if status == 200:
                return


async def test_those_who_find_no_health_only_place_are_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_limit, "HEALTH_ONLY_PLACES", 0)
    async with serving(max_connections=2) as (app, port):
        busy = await fill(port, 2, BUSY)
        await until_busy(app, port)
        raw = await Raw.open(port)
        status, body = await raw.answer()
        assert (status, json.loads(body)) == (503, {"success": False, "error": FULL})
        assert await raw.end() == b""
        for one in busy:
            one.close()
        await until_served(port)


class Idler:
    """A connection that idles since ``idle_since``, or is busy."""

    def __init__(self, idle_since: float | None) -> None:
        self.idle_since = idle_since
        self.is_closed = False

    def force_close(self) -> None:
        self.is_closed = True

    def look_after_answer(self, now: float) -> None:
        raise AssertionError


async def test_a_share_of_the_idle_makes_room_at_once(caplog: pytest.LogCaptureFixture) -> None:
    room = ConnectionLimiter(100)
    idlers = [Idler(float(number % 50)) for number in range(100)]
    assert {room.add(one) for one in idlers} == {Admission.ACCEPTED}
    assert room.add(Idler(None)) is Admission.ACCEPTED
    assert [one.idle_since for one in idlers if one.is_closed] == [0.0, 0.0]
    assert len(room) == 99
    assert caplog.records == []
    room._sweeping.cancel()  # type: ignore[union-attr]


async def test_busy_connections_stay(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    room = ConnectionLimiter(2)
    for place in (
        *[Admission.ACCEPTED] * 2,
        *[Admission.HEALTH_ONLY] * connection_limit.HEALTH_ONLY_PLACES,
        Admission.REJECTED,
    ):
        assert room.add(Idler(None)) is place
    late = Idler(7.0)
    assert room.add(late) is Admission.REJECTED
    assert len(caplog.records) == 1
    room._sweeping.cancel()  # type: ignore[union-attr]


@pytest.mark.parametrize(("descriptors", "limit"), [(1024, 822), (100, 1), (10**6, 16_384)])
def test_there_are_never_more_connections_than_descriptors(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, limit: int
) -> None:
    monkeypatch.setattr(connection, "descriptor_limit", lambda: descriptors)
    assert connection.connections_limit(Settings()) == limit
