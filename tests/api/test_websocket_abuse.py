"""The WebSocket under rubbish, faults and shutdown: an error is told, and nobody else suffers."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import ssl
import subprocess
import sys
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.app import create_app
from gateway.events.hub import Event
from gateway.handlers import websocket_session
from gateway.http import app_keys
from gateway.settings import Settings
from support.index_rows import change_job, make_job, run
from support.raw_http import connect_raw
from support.stream_kit import PATIENCE, listening

NO_TYPE = "A message must be an object whose type is auth, subscribe, unsubscribe, ping"
NOT_JSON = "The message is not valid JSON"

RUBBISH = [
    ("", NOT_JSON),
    ("hello", NOT_JSON),
    ("\0", NOT_JSON),
    ('{"type": "ping"', NOT_JSON),
    ('{"type": NaN}', NOT_JSON),
    ('{"type": "\\ud800"}', NOT_JSON),
    ("[" * 30_000, NOT_JSON),
    ('{"a":' * 10_000 + "1" + "}" * 10_000, NOT_JSON),
    ("[]", NO_TYPE),
    ("null", NO_TYPE),
    ("5", NO_TYPE),
    ('"ping"', NO_TYPE),
    ("{}", NO_TYPE),
    ('{"type": null}', NO_TYPE),
    ('{"type": ["ping"]}', NO_TYPE),
    ('{"type": {"type": "ping"}}', NO_TYPE),
    ('{"type": "PING"}', NO_TYPE),
    ('{"type": "ping\\u0000"}', NO_TYPE),
    ('{"type": "' + "x" * 60_000 + '"}', NO_TYPE),
    (b"\xff\xfe\x00", NOT_JSON),
    (b"", NOT_JSON),
]


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR or r.exc_info]


async def test_rubbish_is_answered_with_an_error_and_the_connection_stays(
    api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(api) as listener:
        for data, sentence in RUBBISH:
            if isinstance(data, str):
                await listener.socket.send_str(data)
            else:
                await listener.socket.send_bytes(data)
            assert await listener.error() == sentence
        await listener.subscribe(channel="jobs")
    assert faults(caplog) == []


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\xff" + (64 * 1024 + 1).to_bytes(8, "big") + b"mask" + b"x" * (64 * 1024 + 1), 1009),
        (b"\x81\xff" + (1 << 62).to_bytes(8, "big") + b"mask", 1009),
        (b"\x81\x82mask" + bytes(a ^ b for a, b in zip(b"\xff\xfe", b"mask", strict=False)), 1007),
        (b"\x83\x80mask", 1002),
        (b"\xf1\x80mask", 1002),
        (b"\x89\xfe\x00\x7emask" + b"x" * 126, 1002),
        (b"\x00\x80mask", 1002),
    ],
    ids=["64 KiB + 1", "huge", "no UTF-8", "unknown opcode", "reserved bits", "long ping", "stray"],
)
async def test_what_breaks_the_protocol_ends_that_connection_alone(
    api: Any, caplog: pytest.LogCaptureFixture, frame: bytes, code: int
) -> None:
    async with listening(api) as other, listening(api) as listener:
        writer = listener.socket._writer
        writer.transport.write(frame)
        async with asyncio.timeout(PATIENCE):
            while (message := await listener.socket.receive()).type is WSMsgType.TEXT:
                pass
        assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING)
        assert listener.socket.close_code in (code, 1002)
        await other.sync()
    assert faults(caplog) == []


async def test_clients_that_vanish_at_any_moment_leave_nothing_behind(
    api: Any, database_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    app = api.server.app
    job_id = make_job(database_settings)
    async with listening(api) as first:
        await first.subscribe(channel="jobs")
    before = len(asyncio.all_tasks())
    for when in range(20):
        socket = await api.ws_connect("/ws")
        for _ in range(when % 4):
            await socket.send_json({"type": "subscribe", "channel": "jobs"})
            await socket.send_json({"type": "subscribe", "channel": "job", "jobId": job_id})
        if when % 2:
            await socket.receive()
        socket._response.connection.transport.abort()
    async with asyncio.timeout(PATIENCE):
        while app[app_keys.SOCKETS] or app[app_keys.HUB]._subscribers:
            await asyncio.sleep(0)
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0)
    assert app[app_keys.SEND_BUFFERS].count == 0
    assert faults(caplog) == []


async def test_a_fault_of_ours_closes_that_connection_with_1011(
    api: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(api) as listener, listening(api) as other:
        monkeypatch.setattr(websocket_session, "read_message", lambda _data: {"type": None})
        await listener.socket.send_str("{}")
        async with asyncio.timeout(PATIENCE):
            assert (await listener.socket.receive()).type is WSMsgType.CLOSE
        assert listener.socket.close_code == 1011
        monkeypatch.undo()
        await other.sync()
    assert "failed" in "".join(faults(caplog))


async def test_while_the_database_is_away_a_subscription_is_refused_with_a_wait(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = api.server.app[app_keys.DATABASE]
    await api.server.app[app_keys.JOB_EVENTS].has_begun.wait()
    pool, database._pool = database._pool, None
    async with listening(api) as listener:
        await listener.ask(type="subscribe", channel="jobs")
        refused = await listener.next_of("error")
        assert refused["error"] == "Database unavailable, please try again later"
        assert refused["retryAfter"] >= 1
        database._pool = pool
        await listener.subscribe(channel="jobs")


async def test_before_jobs_are_known_a_subscription_is_refused_with_a_wait(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_session, "EVENT_SECONDS", 0.01)
    begun = api.server.app[app_keys.JOB_EVENTS].has_begun
    await begun.wait()
    begun.clear()
    async with listening(api) as listener:
        await listener.ask(type="subscribe", channel="jobs")
        refused = await listener.next_of("error")
        assert refused["error"].startswith("The gateway is starting")
        assert refused["retryAfter"] >= 1
        begun.set()
        await listener.subscribe(channel="jobs")


@pytest.mark.parametrize("channel", ["jobs", "job"])
async def test_what_happened_before_the_snapshot_was_read_is_not_told_after_it(
    api: Any, database_settings: Settings, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    job_id = make_job(database_settings, total_files=9)
    store = api.server.app[app_keys.JOB_STORE]
    read = {"jobs": store.newest, "job": store.get}[channel]
    async with listening(api) as other, listening(api) as listener:
        await other.subscribe(channel="jobs")

        async def read_late(*arguments: Any, **options: Any) -> Any:
            monkeypatch.undo()
            change_job(database_settings, job_id, status="running", completed_files=2)
            await other.next_of("job-started")
            answer = await read(*arguments, **options)
            change_job(database_settings, job_id, completed_files=3)
            await other.next_of("job-progress")
            return answer

        monkeypatch.setattr(store, read.__name__, read_late)
        await listener.subscribe(channel=channel, jobId=job_id)
        told = await listener.next_of("job-progress")
        assert told["progress"]["files"]["completed"] == 3
        assert listener.events_of(job_id) == ["job-progress"]


async def test_what_a_snapshot_shows_is_never_followed_by_what_is_older(
    api: Any, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes rain while clients subscribe: whatever they see of a job never falls."""
    jobs = [make_job(database_settings, status="running", total_files=400) for _ in range(3)]

    def work() -> None:
        for done in range(1, 401, 10):
            run(database_settings, "UPDATE cache_jobs SET completed_files = %s", done)
        run(database_settings, "UPDATE cache_jobs SET completed_files = 400, status = 'completed'")

    async def watch(index: int) -> None:
        async with listening(api) as listener:
            while not working.done():
                what = {"channel": "job", "jobId": jobs[index % 3]}
                snapshot = await listener.subscribe(**(what if index % 2 else {"channel": "jobs"}))
                await listener.sync()
                await listener.ask(type="unsubscribe", **what)
                await listener.ask(type="unsubscribe", channel="jobs")
                start = listener.seen.index(snapshot)
                await listener.sync()
                assert_never_falls(listener.seen[start:])

    working = asyncio.ensure_future(asyncio.to_thread(work))
    await asyncio.gather(working, *(watch(index) for index in range(6)))


def assert_never_falls(messages: list[dict[str, Any]]) -> None:
    reached: dict[str, int] = {}
    for message in messages:
        shown = message.get("jobs") or ([message["job"]] if "job" in message else [])
        if message["type"].startswith("job-"):
            shown = [{"id": message["jobId"], **message}]
        for job in shown:
            brief = "completedFiles" in job
            done = job["completedFiles"] if brief else job["progress"]["files"]["completed"]
            assert done >= reached.get(job["id"], 0), messages
            reached[job["id"]] = done


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
KNOWN = st.fixed_dictionaries(
    {"type": st.sampled_from(["auth", "subscribe", "unsubscribe", "ping"]) | JSON},
    optional={
        "apiKey": JSON,
        "channel": st.sampled_from(["jobs", "job"]) | JSON,
        "jobId": st.uuids().map(str) | JSON,
        "files": st.booleans() | JSON,
    },
)
MESSAGES = st.lists(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | (KNOWN | JSON).map(lambda value: json.dumps(value).encode()),
    min_size=1,
    max_size=8,
)


@given(messages=MESSAGES, as_text=st.booleans())
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_whatever_a_client_sends_nothing_breaks(
    api: Any, caplog: pytest.LogCaptureFixture, messages: list[bytes], as_text: bool
) -> None:
    async with listening(api) as listener:
        for data in messages:
            send = listener.socket._writer.send_frame
            await send(data, WSMsgType.TEXT if as_text else WSMsgType.BINARY)
        with suppress(aiohttp.ClientError, AssertionError):
            await listener.sync()
    assert faults(caplog) == []
    async with listening(api) as other:
        await other.sync()


async def test_a_shutdown_says_goodbye_to_all_within_a_bounded_time(
    aiohttp_server: Any, database_settings: Settings
) -> None:
    server = await aiohttp_server(create_app(database_settings), shutdown_timeout=60)
    loop = asyncio.get_running_loop()
    codes: list[int | None] = []

    async def wait_for_goodbye(socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            assert message.type is WSMsgType.TEXT
        codes.append(socket.close_code)

    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(server.make_url("/"), connector=connector) as session,
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(session.ws_connect("ws")) for _ in range(200)]
        tasks = [loop.create_task(wait_for_goodbye(client)) for client in clients]
        deaf = [await connect_raw(server.host, server.port) for _ in range(5)]
        hub = server.app[app_keys.HUB]
        send_buffers = server.app[app_keys.SEND_BUFFERS]
        while send_buffers.count < 205 or not any(
            send_buffer.is_full for send_buffer in send_buffers._open
        ):
            hub.publish(Event({"type": "x", "text": "x" * 50_000}))
            await asyncio.sleep(0)
        started = loop.time()
        await server.close()
        took = loop.time() - started
        await asyncio.gather(*tasks)
        for connection in deaf:
            connection.close()
    assert codes == [1001] * 200
    # Not a measurement: without an answer from the deaf it would be the 60 s of shutdown_timeout.
    assert took < 20
    assert not server.app[app_keys.SOCKETS]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's buffer is bounded on Linux")
async def test_the_kernel_holds_little_for_a_client_that_never_reads(api: Any) -> None:
    send_buffers, hub = api.server.app[app_keys.SEND_BUFFERS], api.server.app[app_keys.HUB]
    with closing(await connect_raw(api.server.host, api.server.port)):
        while not send_buffers.count:
            await asyncio.sleep(0)
        (send_buffer,) = send_buffers._open
        written = 0
        while not send_buffer.is_full:
            hub.publish(Event({"type": "x", "text": "x" * 10_000}))
            written += 10_000
            await asyncio.sleep(0)
    assert written < 1_000_000


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*request, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key, certificate


async def test_over_tls_a_client_that_never_reads_is_bounded_and_cut_off(
    aiohttp_server: Any, database_settings: Settings, certificate: tuple[Path, Path]
) -> None:
    key, chain = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    server = await aiohttp_server(create_app(database_settings), ssl=context)
    send_buffers, hub = server.app[app_keys.SEND_BUFFERS], server.app[app_keys.HUB]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
        socket = await session.ws_connect(server.make_url("/ws"))
        assert (await socket.receive()).json()["type"] == "metrics"
        (send_buffer,) = send_buffers._open
        socket._response.connection.transport.pause_reading()
        while not send_buffer.is_behind:
            hub.publish(Event({"type": "x", "text": "x" * 5000}))
            await asyncio.sleep(0)
        for number in range(3000):
            hub.publish(Event({"type": f"x{number % 10}", "text": "x" * 5000}))
        assert send_buffer._transport.get_write_buffer_size() < 200_000
        hours = itertools.count(1)
        send_buffer._clock = lambda: next(hours) * 3600.0
        async with asyncio.timeout(PATIENCE):
            while send_buffers.count:
                await asyncio.sleep(0)
        socket._response.connection.transport.abort()
