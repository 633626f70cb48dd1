"""The health of the bucket: on a real S3 server, and on misbehaving servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.free_ports import free_port
from gateway.errors import Unavailable
from gateway.events.hub import Hub
from gateway.metrics.latest import Metrics, S3Health
from gateway.monitors.loop import Monitor, running
from gateway.monitors.s3 import CHECK_SECONDS, S3Monitor
from gateway.settings import Settings
from support.hearing import PATIENCE, Ear
from support.s3_servers import (
    BUCKET,
    TIME,
    Mood,
    answer,
    drip,
    endless_headers,
    forget_aws,
    garbage,
    hang,
    hang_up,
    moody_server,
    real_s3,
    reset,
    show_key,
)

WELL = answer("200 OK")
# The extra time that a check may take on a busy machine.
SLACK = 15.0


@pytest.fixture(autouse=True)
def _no_aws_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_aws(monkeypatch, tmp_path)


class Watched:
    """A monitor with its metrics and published events."""

    def __init__(self, url: str, clock: Callable[[], float] = time.perf_counter, **changes: Any):
        settings = Settings(s3_health_bucket=BUCKET, s3_endpoint=url).model_copy(update=changes)
        hub = Hub()
        self.metrics = Metrics(settings.s3_region)
        self.ear = Ear(hub)
        self.monitor = S3Monitor(settings, self.metrics, hub, clock)

    async def check(self) -> S3Health:
        """Check once, within the time limit of a check; return the health."""
        async with asyncio.timeout(CHECK_SECONDS + SLACK):
            try:
                await self.monitor.check_once()
            except Unavailable as error:
                assert error.message == self.health.error
            else:
                assert self.health.error is None
        return self.health

    @property
    def health(self) -> S3Health:
        return self.metrics.s3_health


async def check(url: str, **changes: Any) -> S3Health:
    watched = Watched(url, **changes)
    async with watched.monitor:
        return await watched.check()


# A real server


async def test_an_accessible_bucket_is_healthy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show_key(monkeypatch)
    with real_s3(tmp_path) as url:
        health = await check(url)
    assert health.is_healthy
    assert health.error is None
    assert isinstance(health.latency, int)
    assert health.check_count == 1
    assert health.latencies == (health.latency,)


async def test_a_missing_bucket_is_unhealthy_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show_key(monkeypatch)
    with real_s3(tmp_path) as url:
        health = await check(url, s3_health_bucket="forgotten")
    assert health.is_healthy is False
    assert health.error == "The bucket does not exist"
    assert health.latency is None


async def test_a_server_that_denies_access_is_healthy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show_key(monkeypatch, secret="not-the-one")
    with real_s3(tmp_path) as url:
        # The bucket is missing, which shows that access was denied: a valid key would get a 404.
        health = await check(url, s3_health_bucket="forgotten")
    assert health.is_healthy
    assert health.latency is not None


async def test_a_real_server_that_stops_and_starts_again_is_noticed_both_times(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show_key(monkeypatch)
    port = free_port()
    watched = Watched(f"http://127.0.0.1:{port}", s3_check_interval=100)
    async with running(watched.monitor):
        await until(watched, is_healthy=False)
        for _ in range(2):
            with real_s3(tmp_path, port):
                await until(watched, is_healthy=True)
            health = await until(watched, is_healthy=False)
            assert health["error"] == "S3 cannot be reached"


async def until(watched: Watched, is_healthy: bool) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while (health := (await watched.ear.next())["s3Health"])["isHealthy"] is not is_healthy:
            pass
    return health


# Servers that misbehave

MISBEHAVIOURS: dict[str, tuple[Mood, str]] = {
    "hang": (hang, "S3 did not answer in time"),
    "drip": (drip, "S3 did not answer in time"),
    "hang up": (hang_up, "S3 closed the connection without an answer"),
    "reset": (reset, "S3 closed the connection without an answer"),
    "garbage": (garbage, "S3 gave no valid answer"),
    "endless headers": (endless_headers, "S3 gave no valid answer"),
    "500": (answer("500 Internal Server Error"), "S3 answered 500"),
    "503": (answer("503 Slow Down"), "S3 answered 503"),
    "400": (answer("400 Bad Request"), "S3 answered 400"),
    "404": (answer("404 Not Found"), "The bucket does not exist"),
    "301": (answer("301 Moved Permanently"), "S3 redirects without saying where"),
    "301 in circles": (answer("301 Moved", "x-amz-bucket-region: eu-west-1"), "S3 answered 301"),
}


@pytest.mark.parametrize(("mood", "reason"), MISBEHAVIOURS.values(), ids=MISBEHAVIOURS)
async def test_a_misbehaving_server_is_unhealthy_with_a_reason_and_recovers(
    mood: Mood, reason: str
) -> None:
    async with moody_server(mood) as server:
        watched = Watched(server.url)
        async with watched.monitor:
            health = await watched.check()
            assert (health.is_healthy, health.error, health.latency) == (False, reason, None)
            server.mood = WELL
            server.hang_up()
            health = await watched.check()
    assert (health.is_healthy, health.error) == (True, None)
    assert health.check_count == 2
    assert len(health.latencies) == 1


async def test_a_closed_port_is_unhealthy() -> None:
    health = await check(f"http://127.0.0.1:{free_port()}")
    assert (health.is_healthy, health.error) == (False, "S3 cannot be reached")


async def test_an_unresolvable_host_is_unhealthy() -> None:
    health = await check("http://s3.invalid")
    assert (health.is_healthy, health.error) == (False, "S3 cannot be reached")


async def test_a_server_without_tls_is_unhealthy(tmp_path: Path) -> None:
    with real_s3(tmp_path) as url:
        health = await check(url.replace("http:", "https:"))
    assert health.is_healthy is False
    assert health.error == "No secure connection to S3 can be made"


@pytest.mark.parametrize("bucket", ["no such bucket", "a/../b", "ü" * 70, "x"])
async def test_an_invalid_bucket_name_is_unhealthy(bucket: str) -> None:
    async with moody_server(answer("404 Not Found")) as server:
        health = await check(server.url, s3_health_bucket=bucket)
    assert health.is_healthy is False
    assert health.error in ("The name of the bucket is not valid", "The bucket does not exist")


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1"])
async def test_an_invalid_endpoint_is_unhealthy(url: str) -> None:
    health = await check(url)
    assert health.is_healthy is False
    assert health.error


async def test_a_broken_aws_configuration_is_unhealthy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"[default\n\xff = [")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(broken))
    async with moody_server(WELL) as server:
        health = await check(server.url)
    assert health.is_healthy is False
    assert health.error


class Ticks(Monitor):
    """A monitor that counts its checks."""

    name = "ticks"
    interval = 0.02
    count = 0

    async def check_once(self) -> bool:
        self.count += 1
        return False


@pytest.mark.parametrize("mood", [hang, drip, answer("301 Moved")], ids=["hang", "drip", "301"])
async def test_other_monitors_go_on_while_s3_misbehaves(mood: Mood) -> None:
    async with moody_server(mood) as server:
        watched, ticks = Watched(server.url), Ticks()
        async with running(watched.monitor), running(ticks):
            assert (await watched.ear.next())["s3Health"]["isHealthy"] is False
            before = ticks.count
            server.mood = WELL
            watched.monitor.check_requested.set()
            assert (await watched.ear.next())["s3Health"]["isHealthy"] is True
    assert before > 1
    assert ticks.heartbeat.is_healthy
    assert watched.monitor.heartbeat.is_healthy


async def test_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with moody_server(answer("500 Oh")) as server:
        watched = Watched(server.url, s3_check_interval=100)
        async with running(watched.monitor):
            for _ in range(4):
                await watched.ear.next()
    messages = [
        record.getMessage() for record in caplog.records if record.name.startswith("gateway")
    ]
    assert [text for text in messages if "S3 answered 500" in text][1:] == []
    assert messages[0] == "s3: S3 answered 500"


async def test_closing_does_not_wait_for_a_hanging_server() -> None:
    async with (
        asyncio.timeout(PATIENCE),
        moody_server(hang) as server,
        running(Watched(server.url).monitor),
    ):
        while not server.requests:
            await asyncio.sleep(0.01)


# Credentials


async def test_without_credentials_requests_are_unsigned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with moody_server(WELL) as metadata, moody_server(WELL) as server:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        assert (await check(server.url)).is_healthy
    assert metadata.requests == []
    [request] = server.requests
    assert b"authorization" not in request.lower()
    assert request.startswith(f"HEAD /{BUCKET} HTTP/1.1".encode())


async def test_with_credentials_the_request_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    show_key(monkeypatch)
    async with moody_server(WELL) as server:
        await check(server.url, s3_region="eu-west-3")
    assert b"/eu-west-3/s3/aws4_request" in server.requests[0]


# Metrics


class ServersClock:
    """A clock that only advances while a request is answered, by the given time."""

    def __init__(self, *milliseconds: int) -> None:
        self.now = 50.0
        self._milliseconds = list(milliseconds)

    def __call__(self) -> float:
        return self.now

    async def mood(self, writer: asyncio.StreamWriter) -> None:
        self.now += self._milliseconds.pop(0) / 1000
        await WELL(writer)


async def test_latency_is_the_time_of_the_round_trip_and_averages_over_three() -> None:
    clock = ServersClock(45, 48, 52, 55)
    async with moody_server(clock.mood) as server:
        watched = Watched(server.url, clock)
        async with watched.monitor:
            averages = [(await watched.check()).average_latency for _ in range(4)]
    assert watched.health.latencies == (45, 48, 52, 55)
    assert watched.health.latency == 55
    assert averages == [45, 46, 48, 52]


class SlowToConnect(S3Monitor):
    """Takes nine seconds of its clock to create the client."""

    async def _connect(self) -> Any:
        self._clock.now += 9  # type: ignore[attr-defined]
        return await super()._connect()


async def test_creating_the_client_is_not_part_of_the_latency() -> None:
    clock = ServersClock(45)
    async with moody_server(clock.mood) as server:
        settings = Settings(s3_health_bucket=BUCKET, s3_endpoint=server.url)
        metrics = Metrics("us-east-1")
        async with SlowToConnect(settings, metrics, Hub(), clock) as monitor:
            await monitor.check_once()
    assert metrics.s3_health.latency == 45


async def test_a_refusal_has_a_latency_too() -> None:
    clock = ServersClock()

    async def refuse(writer: asyncio.StreamWriter) -> None:
        clock.now += 0.03
        await answer("403 Forbidden")(writer)

    async with moody_server(refuse) as server:
        watched = Watched(server.url, clock)
        async with watched.monitor:
            assert (await watched.check()).latency == 30


async def test_each_check_is_published_as_the_document_says() -> None:
    clock = ServersClock(48)
    async with moody_server(clock.mood) as server:
        watched = Watched(server.url, clock)
        async with watched.monitor:
            await watched.check()
    [message] = watched.ear.all()
    assert TIME.fullmatch(message["s3Health"].pop("lastCheck"))
    assert message == {
        "type": "s3-health",
        "s3Health": {
            "latency": 48,
            "averageLatency": 48,
            "isHealthy": True,
            "checkCount": 1,
            "region": "us-east-1",
            "error": None,
        },
    }


async def test_creating_the_client_does_not_block_the_loop() -> None:
    """The best of three: on a busy machine any one may be delayed."""
    async with moody_server(WELL) as server:
        gaps = [await largest_gap(check(server.url)) for _ in range(3)]
    assert min(gaps) < 0.5, gaps


async def largest_gap(work: Any) -> float:
    """The longest delay of a 1 ms ticker, in seconds."""
    gap = 0.0

    async def tick() -> None:
        nonlocal gap
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            gap, before = max(gap, now - before), now

    ticker = asyncio.create_task(tick())
    await work
    ticker.cancel()
    return gap
