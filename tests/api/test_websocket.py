"""The WebSocket: what everybody gets, who may subscribe, and how jobs are told."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import WSMsgType, web

from gateway.app import create_app
from gateway.events import hub as events
from gateway.events.hub import Event
from gateway.handlers import websocket_session
from gateway.http import app_keys
from gateway.schemas.serializers import s3_message
from gateway.settings import Settings
from support.database import StartApi, change, wait_until_ready
from support.index_rows import UNKNOWN_ID, change_job, make_job, run
from support.stream_kit import PATIENCE, Listener, listening
from support.worker_kit import open_bench

KEY = "a-secret-of-our-own"
ALL_ENDS = ("job-completed", "job-failed", "job-cancelled")


@pytest.fixture
async def unauthenticated(database_settings: Settings, aiohttp_client: Any) -> Any:
    """An HTTP client that shows no key; the limits are in force."""
    settings = change(database_settings, {"api_gateway_key": KEY})
    client = await aiohttp_client(create_app(settings))
    await wait_until_ready(client)
    return client


async def test_the_first_message_is_the_metrics_and_no_key_is_needed(unauthenticated: Any) -> None:
    async with listening(unauthenticated) as listener:
        (first,) = listener.seen
    assert first == {
        "type": "metrics",
        "lucidLink": {"throughputMbps": 0, "timestamp": None},
        "s3Health": {
            "latency": None,
            "averageLatency": None,
            "isHealthy": None,
            "lastCheck": None,
            "checkCount": 0,
            "region": "us-east-1",
            "error": None,
        },
    }


async def test_who_sends_nothing_gets_the_documented_messages_only(
    unauthenticated: Any, database_settings: Settings
) -> None:
    app = unauthenticated.server.app
    async with listening(unauthenticated) as listener, listening(unauthenticated) as subscriber:
        await subscriber.ask(type="auth", apiKey=KEY)
        await subscriber.subscribe(channel="jobs")
        make_job(database_settings)
        await subscriber.next_of("job-created")
        app[app_keys.HUB].publish(Event(s3_message(app[app_keys.METRICS].s3_health)))
        await listener.next()
    assert [m["type"] for m in listener.seen] == ["metrics", "s3-health"]


async def test_a_query_changes_nothing_and_the_handshake_has_a_request_id(
    unauthenticated: Any,
) -> None:
    async with unauthenticated.ws_connect(
        "/ws?token=x", headers={"X-Request-ID": "abc-1"}
    ) as socket:
        assert orjson.loads((await socket.receive()).data)["type"] == "metrics"
        assert socket._response.headers["X-Request-ID"] == "abc-1"
    async with unauthenticated.ws_connect("/ws") as socket:
        assert socket._response.headers["X-Request-ID"]


async def test_a_request_that_is_no_handshake_is_a_bad_request(unauthenticated: Any) -> None:
    response = await unauthenticated.get("/ws")
    assert response.status == 400
    assert (await response.json())["success"] is False


@pytest.mark.usefixtures("still_clock")
async def test_a_wrong_key_at_the_handshake_is_refused_until_the_bucket_is_empty(
    unauthenticated: Any,
) -> None:
    statuses = []
    for _ in range(11):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await unauthenticated.ws_connect("/ws", headers={"X-API-Key": "wrong"})
        statuses.append(refused.value.status)
    assert statuses == [401] * 10 + [429]
    async with listening(unauthenticated, headers={"X-API-Key": KEY}) as listener:
        await listener.subscribe(channel="jobs")


@pytest.mark.usefixtures("still_clock")
async def test_a_key_may_be_shown_by_a_message_and_a_wrong_one_draws_from_the_bucket(
    unauthenticated: Any,
) -> None:
    async with listening(unauthenticated) as listener:
        await listener.ask(type="subscribe", channel="jobs")
        assert await listener.error() == "Invalid or missing API key"
        for key in ("wrong", None, 5, {}, ["x"], "", "\0", "ü", KEY.upper(), KEY + " "):
            await listener.ask(type="auth", apiKey=key)
            assert await listener.error() == "Invalid or missing API key"
        await listener.ask(type="auth", apiKey="wrong")
        refused = await listener.next_of("error")
        assert refused["error"] == "Too many requests, please try again later"
        assert refused["retryAfter"] >= 1
        await listener.ask(type="auth", apiKey=KEY)
        await listener.next_of("authenticated")
        await listener.subscribe(channel="jobs")


@pytest.mark.usefixtures("still_clock")
async def test_subscriptions_draw_from_the_bucket_for_reading_jobs(start_api: StartApi) -> None:
    api = await start_api(poll_limit_per_minute=2)
    async with listening(api) as listener:
        for _ in range(2):
            await listener.subscribe(channel="jobs")
        await listener.ask(type="subscribe", channel="jobs")
        assert (await listener.next_of("error"))["retryAfter"] >= 1


async def test_jobs_start_with_the_newest_thousand(api: Any, database_settings: Settings) -> None:
    run(
        database_settings,
        "INSERT INTO cache_jobs (file_paths, total_files, created_at)"
        " SELECT '{}', n, '2026-01-01'::timestamp + n * interval '1 s'"
        " FROM generate_series(1, 1005) AS n",
    )
    async with listening(api) as listener:
        snapshot = await listener.subscribe(channel="jobs")
    assert snapshot["channel"] == "jobs"
    assert [job["totalFiles"] for job in snapshot["jobs"]] == list(range(1005, 5, -1))


@pytest.mark.parametrize(
    ("end", "told"),
    [("completed", "job-completed"), ("failed", "job-failed"), ("cancelled", "job-cancelled")],
)
async def test_a_job_that_a_backend_works_is_told_from_its_creation_to_its_end(
    api: Any, database_settings: Settings, end: str, told: str
) -> None:
    async with listening(api) as listener:
        assert (await listener.subscribe(channel="jobs"))["jobs"] == []
        job_id = make_job(database_settings, total_files=4)
        await listener.next_of("job-created")
        change_job(database_settings, job_id, status="running", worker_id="backend-1")
        await listener.next_of("job-started")
        for done in (1, 2):
            change_job(database_settings, job_id, completed_files=done)
            progress = await listener.next_of("job-progress")
            assert progress["progress"]["files"]["completed"] == done
        change_job(database_settings, job_id, status=end, error_message="As it was", failed_files=2)
        last = await listener.next_of(*ALL_ENDS)
        await listener.sync()
    assert (last["type"], last["status"], last["error"]) == (told, end, "As it was")
    progress_told = ["job-progress"] * 2
    assert listener.events_of(job_id) == ["job-created", "job-started", *progress_told, told]
    assert listener.percentages(job_id)[:-1] == [0, 0, 25, 50]


async def test_a_paused_job_is_told_as_progress_and_may_go_on_or_back(
    api: Any, database_settings: Settings
) -> None:
    job_id = make_job(database_settings, status="running", total_files=4, completed_files=1)
    async with listening(api) as listener:
        await listener.subscribe(channel="job", jobId=job_id)
        told = []
        for status in ("paused", "running", "pending", "cancelled", "pending", "running"):
            change_job(database_settings, job_id, status=status)
            message = await listener.next()
            assert message["status"] == status
            told.append(message["type"])
    expected = ["progress", "started", "progress", "cancelled", "progress", "started"]
    assert told == [f"job-{kind}" for kind in expected]


async def test_files_of_a_job_are_told_and_then_its_end_and_nothing_after(
    start_api: StartApi, database_settings: Settings, tmp_path: Path
) -> None:
    mount = tmp_path / "mount"
    api = await start_api(container_mount_point=str(mount))
    files = {f"a/{n:03}.mov": 10 + n for n in range(400)}
    async with open_bench(database_settings, mount) as bench, listening(api) as listener:
        await bench.index(files)
        (mount / "a/007.mov").unlink()
        job_id = await bench.submit("a")
        snapshot = await listener.subscribe(channel="job", jobId=job_id.upper(), files=True)
        assert (snapshot["channel"], snapshot["jobId"]) == ("job", job_id)
        assert (snapshot["job"]["id"], snapshot["job"]["status"]) == (job_id, "pending")
        async with bench.working():
            await listener.next_of(*ALL_ENDS)
        await listener.sync()
    told = [m for m in listener.seen if m["type"].startswith("file-")]
    assert {m["filePath"]: m["sizeBytes"] for m in told} == files
    assert [m["filePath"] for m in told if m["type"] == "file-failed"] == ["a/007.mov"]
    assert len(told) == len(files)
    assert all(m["error"] for m in told if m["type"] == "file-failed")
    assert [m["type"] for m in listener.seen[-2:]] == ["job-completed", "pong"]
    assert listener.percentages(job_id) == sorted(listener.percentages(job_id))


async def test_one_jobs_channel_tells_of_that_job_alone_and_files_only_if_asked(
    api: Any, database_settings: Settings
) -> None:
    mine, other = make_job(database_settings), make_job(database_settings)
    app = api.server.app
    async with listening(api) as listener:
        await listener.subscribe(channel="job", jobId=mine)
        assert not app[app_keys.HUB].has_subscribers(events.files_topic(mine))
        change_job(database_settings, other, status="running")
        change_job(database_settings, mine, status="running")
        await listener.next_of("job-started")
    assert listener.events_of(other) == []


async def test_after_unsubscribing_nothing_is_told_any_more(
    api: Any, database_settings: Settings
) -> None:
    job_id = make_job(database_settings)
    async with listening(api) as listener, listening(api) as other:
        await other.subscribe(channel="jobs")
        for what in ({"channel": "jobs"}, {"channel": "job", "jobId": job_id, "files": True}):
            await listener.subscribe(**what)
            what.pop("files", None)
            await listener.ask(type="unsubscribe", **what)
            assert await listener.next_of("unsubscribed") == {"type": "unsubscribed", **what}
        change_job(database_settings, job_id, status="running")
        await other.next_of("job-started")
        await listener.sync()
        hub = api.server.app[app_keys.HUB]
        assert not hub.has_subscribers(events.files_topic(job_id))
    assert listener.events_of(job_id) == []


async def test_what_cannot_be_subscribed_is_told_and_leaves_no_subscription(api: Any) -> None:
    hub = api.server.app[app_keys.HUB]
    async with listening(api) as listener:
        for job_id, sentence in (
            (UNKNOWN_ID, "Job not found"),
            ("not an id", "Invalid job ID format"),
            (None, "Invalid job ID format"),
            (["x"], "Invalid job ID format"),
        ):
            await listener.ask(type="subscribe", channel="job", jobId=job_id, files=True)
            assert await listener.error() == sentence
        for channel in (None, "files", {}, ["jobs"], "metrics"):
            await listener.ask(type="subscribe", channel=channel)
            assert await listener.error() == "channel must be jobs or job"
        assert set(hub._subscribers) == {events.METRICS}
    async with listening(api):
        pass


async def test_a_connection_has_so_many_subscriptions_at_most(
    api: Any, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_session, "SUBSCRIPTIONS_LIMIT", 3)
    jobs = [make_job(database_settings) for _ in range(3)]
    async with listening(api) as listener:
        await listener.subscribe(channel="jobs")
        await listener.subscribe(channel="job", jobId=jobs[0], files=True)
        await listener.subscribe(channel="jobs")
        await listener.ask(type="subscribe", channel="job", jobId=jobs[1])
        assert await listener.error() == "At most 3 subscriptions a connection"
        await listener.ask(type="unsubscribe", channel="job", jobId=jobs[0])
        await listener.subscribe(channel="job", jobId=jobs[1], files=True)


async def test_however_many_are_told_an_event_is_serialised_once(
    api: Any, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    serialised: list[str] = []
    serialise = orjson.dumps

    def counting(message: dict[str, Any]) -> bytes:
        serialised.append(message["type"])
        return serialise(message)

    async def told(listener: Listener) -> bytes:
        await listener.next_of("job-created")
        return serialise(listener.seen[-1])

    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(listening(api)) for _ in range(20)]
        await asyncio.gather(*(listener.subscribe(channel="jobs") for listener in listeners))
        monkeypatch.setattr(events.orjson, "dumps", counting)
        tasks = [group.create_task(told(listener)) for listener in listeners]
        make_job(database_settings)
        assert len({await task for task in tasks}) == 1
    assert serialised.count("job-created") == 1


async def test_pings_are_answered_of_the_protocol_and_of_ours(api: Any) -> None:
    async with api.ws_connect("/ws", autoping=False) as socket:
        await socket.receive()
        await socket.ping(b"here?")
        assert (await socket.receive())[:2] == (aiohttp.WSMsgType.PONG, b"here?")
        await socket.send_json({"type": "ping"})
        assert (await socket.receive()).json() == {"type": "pong"}


async def test_it_is_served_under_the_prefix_of_a_host(
    aiohttp_client: Any, database_settings: Settings
) -> None:
    host = web.Application()
    host.add_subapp("/cache", create_app(change(database_settings, {"api_gateway_key": KEY})))
    client = await aiohttp_client(host)
    await wait_until_ready(client, "/cache/api/v1/health")
    async with listening(client, "/cache/ws", headers={"X-API-Key": KEY}) as listener:
        await listener.subscribe(channel="jobs")
        job_id = make_job(database_settings)
        await listener.next_of("job-created")
    assert listener.events_of(job_id) == ["job-created"]


async def test_a_statement_that_postgresql_refuses_is_logged_and_not_told(
    api: Any, database_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = make_job(database_settings)
    await api.server.app[app_keys.JOB_EVENTS].has_begun.wait()
    async with listening(api) as listener:
        run(database_settings, "ALTER TABLE cache_jobs RENAME TO elsewhere")
        await listener.socket.send_json({"type": "subscribe", "channel": "job", "jobId": job_id})
        async with asyncio.timeout(PATIENCE):
            while (message := await listener.socket.receive()).type is WSMsgType.TEXT:
                assert "cache_jobs" not in message.data
        assert listener.socket.close_code == 1011
    assert 'relation "cache_jobs" does not exist' in caplog.text
