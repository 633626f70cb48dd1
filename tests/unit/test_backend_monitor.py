"""Listening to the TeamCache backend: valid and invalid messages, and outages."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import pytest

from bench.free_ports import free_port
from gateway.errors import Unavailable
from gateway.events.hub import Hub, files_topic
from gateway.metrics.latest import Metrics
from gateway.monitors import backend as backend_module
from gateway.monitors.backend import BackendMonitor
from gateway.monitors.loop import running
from gateway.paths import Filespaces
from support.backend_messages import FILE, JOB, MOUNT, STATS, VARNISH
from support.backend_server import PATIENCE, Backend, accept_handshake, backend_server, raw_backend
from support.hearing import Ear

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Gateway:
    """A monitor with its metrics and hub, on a manual clock."""

    def __init__(self, url: str) -> None:
        self.now = 100.0
        self.metrics = Metrics("us-east-1", lambda: self.now)
        self.hub = Hub()
        self.ear = Ear(self.hub)
        self.monitor = BackendMonitor(url, self.metrics, self.hub, Filespaces.single(MOUNT))

    async def fail_to_connect(self) -> str:
        """Why a check ended."""
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(Unavailable) as caught:
                await self.monitor.check_once()
        return caught.value.message


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Backend, Gateway]]:
    async with backend_server() as backend:
        gateway = Gateway(backend.url)
        async with running(gateway.monitor):
            await backend.connected()
            yield backend, gateway


# Valid messages


async def test_throughput_is_stored() -> None:
    async with listening() as (backend, gateway):
        await backend.send(STATS)
        message = await gateway.ear.next()
    assert TIME.fullmatch(message["lucidLink"].pop("timestamp"))
    assert message == {"type": "lucidlink-stats", "lucidLink": {"throughputMbps": 25.6}}
    assert gateway.metrics.throughput is not None
    assert gateway.metrics.throughput.mbps == 25.6
    assert gateway.monitor.ignored_messages == 0


@pytest.mark.parametrize("rate", [0, 0.0, 7, 125.5, 1e8])
async def test_any_valid_rate_is_stored(rate: float) -> None:
    async with listening() as (backend, gateway):
        await backend.send(STATS | {"getMibps": rate})
        assert (await gateway.ear.next())["lucidLink"]["throughputMbps"] == rate


async def test_throughput_is_fresh_for_less_than_ten_seconds() -> None:
    async with listening() as (backend, gateway):
        await backend.send(STATS)
        await gateway.ear.next()
    gateway.now += 9.9
    assert gateway.metrics.fresh_throughput is gateway.metrics.throughput
    gateway.now += 0.1
    assert gateway.metrics.fresh_throughput is None
    assert gateway.metrics.throughput is not None


async def test_cache_usage_is_stored() -> None:
    async with listening() as (backend, gateway):
        await backend.send(VARNISH)
        message = await gateway.ear.next()
    figures = {name: value for name, value in VARNISH.items() if name != "type"}
    assert message == {"type": "varnish-stats", "varnish": figures}
    assert gateway.metrics.varnish == figures


async def test_binary_messages_are_accepted() -> None:
    async with listening() as (backend, gateway):
        await backend.send(orjson.dumps(STATS))
        assert (await gateway.ear.next())["type"] == "lucidlink-stats"


async def test_file_events_reach_only_subscribers_of_their_job() -> None:
    other = JOB.replace("6", "7")
    async with listening() as (backend, gateway):
        watcher = Ear(gateway.hub, files_topic(JOB))
        await backend.send(FILE | {"jobId": other}, FILE | {"jobId": JOB.upper()})
        message = await watcher.next()
        assert watcher.all() == gateway.ear.all() == []
    assert TIME.fullmatch(message.pop("timestamp"))
    assert message == {
        "type": "file-completed",
        "jobId": JOB,
        "filePath": "00_Media/a.mov",
        "sizeBytes": None,
        "error": None,
    }


@pytest.mark.parametrize(
    ("sent", "published"),
    [("No such file", "No such file"), (None, "Failed"), ({"a": 1}, "Failed")],
)
async def test_a_failed_file_is_published_with_its_reason(sent: Any, published: str) -> None:
    async with listening() as (backend, gateway):
        watcher = Ear(gateway.hub, files_topic(JOB))
        await backend.send(FILE | {"type": "cache-file-failed", "error": sent})
        message = await watcher.next()
    assert (message["type"], message["error"]) == ("file-failed", published)


# Invalid messages

NONSENSE: dict[str, Any] = {
    "nothing": "",
    "no JSON": "getMibps=25",
    "cut off": '{"type":"lucidlink-stats","getMib',
    "a number": 17,
    "a list": [STATS],
    "null": None,
    "no type": {"getMibps": 1},
    "an unknown type": {"type": "greetings"},
    "a type that is none": {"type": {"lucidlink-stats": 1}},
    "a type that is a list": {"type": ["lucidlink-stats"]},
    "a job's start": {"type": "cache-job-started", "jobId": JOB},
    "no rate": {"type": "lucidlink-stats"},
    "a text for a rate": STATS | {"getMibps": "25.6"},
    "a truth for a rate": STATS | {"getMibps": True},
    "null for a rate": STATS | {"getMibps": None},
    "a list for a rate": STATS | {"getMibps": [25.6]},
    "NaN": '{"type":"lucidlink-stats","getMibps":NaN}',
    "Infinity": '{"type":"lucidlink-stats","getMibps":Infinity}',
    "NaN in a text": STATS | {"getMibps": "nan"},
    "negative": STATS | {"getMibps": -1},
    "barely negative": STATS | {"getMibps": -1e-9},
    "huge": STATS | {"getMibps": 1e300},
    "more than a double": '{"type":"lucidlink-stats","getMibps":1e999}',
    "an endless integer": '{"type":"lucidlink-stats","getMibps":' + "9" * 5000 + "}",
    "varnish without figures": {"type": "varnish-stats"},
    "varnish with wrong figures": {"type": "varnish-stats", "bytesUsed": [], "totalSpace": True},
    "varnish with a book": {"type": "varnish-stats", "lastUpdated": "a" * 100_000},
    "a file without a job": {"type": "cache-file-completed", "filePath": "/a"},
    "a file of no job": FILE | {"jobId": "17"},
    "a file of a numbered job": FILE | {"jobId": 17},
    "a file without a path": {"type": "cache-file-completed", "jobId": JOB},
    "a file whose path is none": FILE | {"filePath": {"a": 1}},
    "a file whose path is a book": FILE | {"filePath": "a" * 100_000},
    "a lone surrogate": '{"type":"varnish-stats","lastUpdated":"\\ud800"}',
    "bytes that are no text": b"\x00\xff\xfe",
    "deep nesting": "[" * 100_000,
    "deep nesting, closed": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "ten megabytes": "a" * 10_000_000,
    "ten megabytes of JSON": STATS | {"padding": "a" * 10_000_000},
    "ten megabytes in binary": b"\x00" * 10_000_000,
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
async def test_invalid_messages_are_ignored_and_counted(nonsense: Any) -> None:
    async with listening() as (backend, gateway):
        watcher = Ear(gateway.hub, files_topic(JOB))
        await backend.send(nonsense, STATS)
        assert (await gateway.ear.next())["type"] == "lucidlink-stats"
        assert gateway.ear.all() == watcher.all() == []
        assert gateway.monitor.ignored_messages == 1
        assert gateway.metrics.varnish is None
        assert gateway.monitor.heartbeat.is_healthy
        assert backend.connections == 1


async def test_unknown_fields_are_dropped() -> None:
    async with listening() as (backend, gateway):
        await backend.send(VARNISH | {"secret": "s3cr3t", "nested": {"a": 1}, "totalSpace": True})
        figures = (await gateway.ear.next())["varnish"]
    assert set(figures) == {"bytesUsed", "usagePercentage", "lastUpdated"}


async def test_a_too_long_message_ends_the_connection_and_the_next_one_works() -> None:
    async with listening() as (backend, gateway):
        gateway.monitor.check_requested.set()
        with suppress(ConnectionError):
            await backend.send("a" * (backend_module.MAX_MESSAGE_BYTES + 1))
        await backend.connected(times=2)
        await backend.send(STATS)
        assert (await gateway.ear.next())["type"] == "lucidlink-stats"


# Outages


async def test_the_monitor_reconnects_to_a_restarted_backend() -> None:
    async with listening() as (backend, gateway):
        await backend.send(STATS)
        await gateway.ear.next()
        await backend.stop()
        await backend.start()
        await backend.connected(times=2)
        await backend.send(STATS | {"getMibps": 7})
        assert (await gateway.ear.next())["lucidLink"]["throughputMbps"] == 7
        assert gateway.monitor.heartbeat.is_healthy


async def test_a_backend_that_starts_later_is_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = Backend()
    backend.port = free_port()
    gateway = Gateway(backend.url)
    async with running(gateway.monitor):
        async with asyncio.timeout(PATIENCE):
            while gateway.monitor.heartbeat.is_healthy is None:
                await asyncio.sleep(0.01)
        assert gateway.monitor.heartbeat.is_healthy is False
        await backend.start()
        await backend.connected()
        await backend.send(STATS)
        await gateway.ear.next()
    await backend.stop()
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"backend: the backend at {backend.url} cannot be reached")


async def test_failed_attempts_back_off_up_to_thirty_seconds() -> None:
    gateway = Gateway(f"ws://127.0.0.1:{free_port()}")
    for longest in (2, 4, 8, 16, 30, 30, 30):
        assert "cannot be reached" in await gateway.fail_to_connect()
        assert longest / 2 <= gateway.monitor.rest <= longest


async def test_reconnects_have_jitter() -> None:
    gateways = [Gateway(f"ws://127.0.0.1:{free_port()}") for _ in range(10)]
    for gateway in gateways:
        await gateway.fail_to_connect()
    assert len({gateway.monitor.rest for gateway in gateways}) > 5


async def test_every_lost_connection_is_followed_by_a_rest() -> None:
    async with backend_server() as backend:
        gateway = Gateway(backend.url)
        gateway.monitor._failures = 6
        check = asyncio.create_task(gateway.fail_to_connect())
        await backend.connected()
        await backend.send(STATS)
        await gateway.ear.next()
        await backend.hang_up()
        assert await check == "the connection to the backend was lost"
    # It had sent a message, so the count of failures restarted.
    assert 1 <= gateway.monitor.rest <= 2


async def test_a_backend_that_disconnects_without_a_message_is_retried_with_backoff() -> None:
    async with backend_server() as backend:
        gateway = Gateway(backend.url)
        for times in range(1, 6):
            check = asyncio.create_task(gateway.fail_to_connect())
            await backend.connected(times)
            await backend.hang_up()
            await check
    assert 15 <= gateway.monitor.rest <= 30


@pytest.mark.parametrize("status", [500, 503, 404, 401, 200])
async def test_a_refused_handshake_is_a_failed_attempt(status: int) -> None:
    async with backend_server() as backend:
        backend.refusal = status
        gateway = Gateway(backend.url)
        assert f"cannot be reached: it answered {status}" in await gateway.fail_to_connect()
        assert backend.connections == 0
        assert gateway.monitor.rest >= 1


@pytest.mark.parametrize("url", ["nonsense", "ws://", "ftp://127.0.0.1/", "ws://backend.invalid"])
async def test_an_unreachable_url_is_a_failed_attempt(url: str) -> None:
    assert "cannot be reached" in await Gateway(url).fail_to_connect()


async def test_a_silent_handshake_times_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend_module, "CONNECT_SECONDS", 0.2)
    async with raw_backend(lambda _request: []) as url:
        assert "did not answer in time" in await Gateway(url).fail_to_connect()


async def test_a_silent_connection_is_ended_by_the_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend_module, "HEARTBEAT_SECONDS", 0.2)
    async with raw_backend(lambda request: [accept_handshake(request)]) as url:
        gateway = Gateway(url)
        assert await gateway.fail_to_connect() == "the connection to the backend was lost"
    assert gateway.monitor.ignored_messages == 0


async def test_a_protocol_violation_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = b"\xff\xff\xff\xff garbage that is no frame"
    async with raw_backend(lambda request: [accept_handshake(request), frames]) as url:
        gateway = Gateway(url)
        await gateway.fail_to_connect()
    assert gateway.monitor.rest >= 1


async def test_a_password_in_the_url_is_not_logged() -> None:
    async with backend_server() as backend:
        backend.refusal = 401
        for place in (f"127.0.0.1:{backend.port}", f"127.0.0.1:{free_port()}", "[127.0.0.1"):
            gateway = Gateway(f"ws://admin:hunter2@{place}/?token=hunter2")
            assert "hunter2" not in await gateway.fail_to_connect()


async def test_leaving_closes_the_connection() -> None:
    async with backend_server() as backend:
        async with running(Gateway(backend.url).monitor):
            await backend.connected()
            socket = backend._socket
        assert socket is not None
        async with asyncio.timeout(PATIENCE):
            while not socket.closed:
                await asyncio.sleep(0.01)
