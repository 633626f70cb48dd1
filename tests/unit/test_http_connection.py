"""Our own listener: whatever strangers send, or do not send, is answered in our shape."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from gateway.app import create_app
from gateway.handlers import websocket, websocket_session
from gateway.http import app_keys, request_body
from gateway.logs.logging import ClientErrorFilter
from gateway.runtime import descriptors
from gateway.runtime.descriptors import FileDescriptorMonitor
from gateway.server import connection
from gateway.server.listener import serve
from gateway.settings import Settings

KEY = b"X-API-Key: demo-api-key-2024\r\n"
JOBS = (
    b"POST /api/v1/cache/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    + KEY
)
LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
SAMPLE_KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"
ENCODINGS = "Content-Encoding must be identity, gzip or deflate"
HANDSHAKE = "The WebSocket handshake is not valid"
PATIENCE = 20.0


@pytest.fixture
async def gateway() -> AsyncIterator[tuple[Any, int]]:
    """A gateway that is served as in production, its database away; the app and its port."""
    settings = Settings(db_host="/nowhere", api_gateway_port=0, rate_limit_per_minute=0)
    app = create_app(settings)
    app[app_keys.READINESS].check = lambda: None  # type: ignore[method-assign]
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(app, settings, stop, listening.set_result))
    yield app, int((await listening).rpartition(":")[2])
    stop.set()
    await serving


@pytest.fixture
def port(gateway: tuple[Any, int]) -> int:
    return gateway[1]


async def ask(port: int, request: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Send bytes, and read one answer: its status, headers and JSON."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = [line.partition(": ") for line in head.splitlines()[1:] if line]
            headers = {name.lower(): value for name, _, value in lines}
            body = await reader.readexactly(int(headers["content-length"]))
    finally:
        writer.close()
    assert headers["content-type"].startswith("application/json"), (head, body)
    assert headers["x-request-id"]
    answer = json.loads(body)
    assert answer["success"] is False
    assert "\n" not in answer["error"]
    return int(head.split(" ")[1]), headers, answer


NO_HTTP = "The request is not valid HTTP"


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (b"no http\r\n\r\n", 400, NO_HTTP),
        (b"\x16\x03\x01 no HTTP at all\r\n\r\n", 400, NO_HTTP),
        (LIVE + b"bad header\r\n\r\n", 400, NO_HTTP),
        (LIVE + b"bad\xff: \x00\r\n\r\n", 400, NO_HTTP),
        (JOBS + b"Content-Length: nonsense\r\n\r\n", 400, NO_HTTP),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 400, "too long"),
        (LIVE + b"X: " + b"x" * 9000 + b"\r\n\r\n", 400, "too long"),
        (JOBS + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}", 415, ENCODINGS),
        (JOBS + b"Content-Encoding: zstd\r\nContent-Length: 2\r\n\r\n{}", 415, ENCODINGS),
        (JOBS + b"Content-Encoding: compress\r\nContent-Length: 2\r\n\r\n{}", 415, ENCODINGS),
        (JOBS + b"Content-Encoding: gzip, gzip\r\nContent-Length: 2\r\n\r\n{}", 415, ENCODINGS),
        (LIVE + b"Expect: 200-foo\r\n\r\n", 417, "Expect must be 100-continue"),
        (UPGRADE + VERSION + b"Sec-WebSocket-Key: \xff\r\n\r\n", 400, HANDSHAKE),
        (UPGRADE + VERSION + b"Sec-WebSocket-Key: short\r\n\r\n", 400, HANDSHAKE),
        (UPGRADE + VERSION + b"\r\n", 400, HANDSHAKE),
        (UPGRADE + SAMPLE_KEY + b"\r\n", 426, "Sec-WebSocket-Version must be 13"),
        (UPGRADE + SAMPLE_KEY + b"Sec-WebSocket-Version: \xff\r\n\r\n", 426, "must be 13"),
        (
            UPGRADE.replace(b"upgrade\r\n", b"\xff\r\n") + VERSION + SAMPLE_KEY + b"\r\n",
            400,
            HANDSHAKE,
        ),
        (UPGRADE.replace(b"websocket", b"websocket2") + b"\r\n", 400, "speaks WebSocket"),
        (UPGRADE.replace(b"websocket", b"\xff") + b"\r\n", 400, "speaks WebSocket"),
    ],
)
async def test_whatever_is_refused_is_refused_as_json_with_an_id(
    port: int, request_: bytes, status: int, says: str
) -> None:
    answered, headers, answer = await ask(port, request_)
    assert (answered, says in answer["error"]) == (status, True), answer
    assert (headers.get("sec-websocket-version") == "13") is (status == 426)


async def test_a_client_that_expects_100_continue_is_told_to_go_on(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(JOBS + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
async def test_a_damaged_packed_body_leaves_no_traceback(
    port: int, encoding: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server_log, strangers = logging.getLogger("aiohttp.server"), ClientErrorFilter()
    server_log.addFilter(strangers)
    packed = gzip.compress(b'{"files": ["a"]}' * 999)
    body = packed[:20] + b"\xff" * 4000
    request = JOBS + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    try:
        status, _, _ = await ask(port, request + body)
        # A fault would be logged after the answer: by the next one it has been.
        await ask(port, LIVE + b"Expect: x\r\n\r\n")
    finally:
        server_log.removeFilter(strangers)
    assert status == 400
    assert [r.getMessage() for r in caplog.records if r.exc_info] == []


async def test_a_head_that_never_ends_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.1)
    for begun in (b"", b"GET /livez HT"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()


async def test_a_connection_that_has_asked_once_is_kept(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.1)
    kept, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(LIVE + b"\r\n")
    assert b" 200 " in await kept.readline()
    # One that came later and says nothing is gone: by then the first was looked at too.
    silent, other = await asyncio.open_connection("127.0.0.1", port)
    assert await asyncio.wait_for(silent.read(), PATIENCE) == b""
    other.close()
    await kept.readuntil(b"}")
    writer.write(LIVE + b"\r\n")
    assert b" 200 " in await asyncio.wait_for(kept.readline(), PATIENCE)
    writer.close()


async def test_a_body_that_stays_away_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "BODY_SECONDS", 0.1)
    status, _, answer = await ask(port, JOBS + b'Content-Length: 99\r\n\r\n{"files"')
    assert (status, answer["error"]) == (408, "The request body did not arrive in time")


async def test_a_websocket_that_is_cut_off_while_pinged_is_no_fault(
    gateway: tuple[Any, int], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, port = gateway
    caplog.set_level(logging.DEBUG, logger=websocket.__name__)
    cut_off = asyncio.Event()

    def parse(_data: object) -> Any:
        (socket,) = app[app_keys.SOCKETS]
        # Pings that came before wait behind this message; their pongs find no connection.
        socket._reader.feed_data(aiohttp.WSMessage(WSMsgType.PING, b"", ""), 0)
        app[app_keys.SEND_BUFFERS].abort()
        cut_off.set()
        return {"type": "ping"}

    monkeypatch.setattr(websocket_session, "read_message", parse)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}/ws") as socket,
    ):
        await socket.send_str("{}")
        async with asyncio.timeout(PATIENCE):
            await cut_off.wait()
            while app[app_keys.SOCKETS]:
                await asyncio.sleep(0)
    said = [r for r in caplog.records if r.name == websocket.__name__]
    assert ["is cut off" in r.getMessage() for r in said] == [True]
    assert [r for r in caplog.records if r.exc_info] == []


def test_few_descriptors_left_are_told_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(descriptors, "descriptor_limit", lambda: 64)
    now = 1000.0
    watch = FileDescriptorMonitor(lambda: now)
    watch.check(40)
    assert caplog.records == []
    for number in (50, 63, 63):
        watch.check(number)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "Nearly all of the 64 descriptors" in caplog.text
    now += 61
    watch.check(63)
    assert len(caplog.records) == 2


async def test_a_connection_near_the_limit_of_descriptors_is_told(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(descriptors, "descriptor_limit", lambda: 1)
    await ask(port, LIVE + b"Expect: x\r\n\r\n")
    await ask(port, LIVE + b"Expect: x\r\n\r\n")
    assert caplog.text.count("raise its limit of open files") == 1


async def test_a_body_that_is_under_way_at_the_end_is_read_to_its_end() -> None:
    """And what follows it on the same connection is not begun."""
    settings = Settings(db_host="/nowhere", api_gateway_port=0, rate_limit_per_minute=0)
    app = create_app(settings)
    app[app_keys.READINESS].check = lambda: None  # type: ignore[method-assign]
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(app, settings, stop, listening.set_result))
    port = int((await listening).rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"files": ["../x"]}'
    head = JOBS + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with asyncio.timeout(PATIENCE):
        writer.write(head)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(body[:5])
        stop.set()
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
            except OSError:
                break
        writer.write(body[5:] + LIVE + b"\r\n")
        answer = await reader.read()
        await serving
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    writer.close()
