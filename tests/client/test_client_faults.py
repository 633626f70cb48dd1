"""The client against what answers strangely, or not at all: one kind of error, no endless wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

import gateway
from gateway.client import GatewayClient, GatewayClientError, GatewayUnreachable, JobChange, models
from gateway.client import client as client_module
from gateway.client.parsing import read_wait
from gateway.settings import Settings
from support.client_server import KEY, Server, StartServer, Watching
from support.index_rows import UNKNOWN_ID, make_job, run
from support.stream_kit import PATIENCE

Answer = Callable[[], web.Response]


@pytest.fixture
def answering(aiohttp_server: Any) -> Callable[[Answer], Awaitable[GatewayClient]]:
    """A client of something that answers every request so."""

    async def start(answer: Answer) -> GatewayClient:
        async def handler(_request: web.Request) -> web.Response:
            return answer()

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        return GatewayClient(str((await aiohttp_server(app)).make_url("/")), KEY)

    return start


ANSWERS: dict[str, tuple[Answer, int | None, str]] = {
    "a proxy's JSON": (lambda: web.json_response({"message": "x"}, status=502), 502, "502"),
    "a list": (lambda: web.json_response(["x"], status=500), 500, "500"),
    "an error that is no text": (lambda: web.json_response({"error": 7}, status=500), 500, "7"),
    "a page": (lambda: web.Response(text="<html>", status=502), 502, "not JSON"),
    "broken JSON": (
        lambda: web.Response(text="{", content_type="application/json"), 200, "not JSON",
    ),
    "no object": (lambda: web.json_response([1]), 200, "not understood"),
    "another service": (lambda: web.json_response({"hello": 1}), None, "not understood"),
    "null inside": (
        lambda: web.json_response({"job": None, "jobs": None, "metrics": None}),
        None, "not understood",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "status", "says"), ANSWERS.values(), ids=ANSWERS)
async def test_whatever_is_answered_raises_the_clients_own_error(
    answering: Any, answer: Answer, status: int | None, says: str
) -> None:
    async with await answering(answer) as client:
        for asked in (client.status("x"), client.jobs(), client.metrics(), client.submit()):
            with pytest.raises(GatewayClientError, match=says) as refused:
                await asked
            assert refused.value.status == status


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_gets_no_key(aiohttp_server: Any, status: int) -> None:
    visits: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        visits.append(request.path)
        return web.json_response({})

    async def lead_away(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": f"{other}{request.path_qs}"})

    servers = []
    for handler in (elsewhere, lead_away):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        servers.append(await aiohttp_server(app))
    other = str(servers[0].make_url("")).rstrip("/")
    async with GatewayClient(str(servers[1].make_url("/")), KEY) as client:
        watching = anext(client.watch(UNKNOWN_ID))
        for asked in (client.health(), client.submit(files=["a"]), client.cancel("x"), watching):
            with pytest.raises(GatewayClientError, match=f"redirects to {other}") as refused:
                await asked
            assert refused.value.status == status
    assert visits == []


@pytest.mark.parametrize("url", ["http://u:secret@host", "u:secret@host", "http://u:se/cret@host["])
async def test_a_password_in_a_url_is_not_taken_and_not_repeated(url: str) -> None:
    with pytest.raises(GatewayClientError) as refused:
        GatewayClient(url, "key")
    assert "cret" not in str(refused.value)


async def test_one_path_in_place_of_a_list_is_refused() -> None:
    async with GatewayClient("http://127.0.0.1:1", "key") as client:
        for asked in (
            client.submit(files="L:/x"),
            client.submit(directories="L:/x"),
            client.resolve("L:/x"),
        ):
            with pytest.raises(TypeError, match="given as a list, not as one text: 'L:/x'"):
                await asked


def test_the_errors_are_where_the_client_is() -> None:
    assert gateway.GatewayUnreachable is GatewayUnreachable
    assert gateway.GatewayClientError is GatewayClientError


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8095",
        "gateway",
        "",
        "ftp://x",
        "http://",
        "http://x:99999",
        "//x",
        "http://[::",
        "http://local host",
        "http://a\tb",
    ],
)
async def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(GatewayClientError, match="is no URL like"):
        GatewayClient(url, KEY)


async def test_a_key_that_no_header_can_hold_is_refused(aiohttp_server: Any) -> None:
    server = await aiohttp_server(web.Application())
    async with GatewayClient(str(server.make_url("/")), "a\nb") as client:
        with pytest.raises(GatewayClientError, match="cannot be sent"):
            await client.jobs()
        with pytest.raises(GatewayClientError, match="cannot be sent"):
            await anext(client.watch(UNKNOWN_ID, patience=0.1))


def test_the_wait_is_read_as_a_number_or_as_a_date() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    assert 25 < read_wait(format_datetime(soon, usegmt=True)) <= 30
    assert read_wait(format_datetime(soon + timedelta(days=9), usegmt=True)) == 60
    assert [read_wait(t) for t in ("7", "1e9", "-5", "0", "", "soon", "nan", "inf")] == [
        *(7, 60, 1, 1, 1, 1, 1, 1)
    ]
    assert read_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 1
    assert read_wait("Wed, 21 Oct 2015 07:28:00 -0000") == 1


async def test_a_submit_may_take_longer_than_other_requests(aiohttp_server: Any) -> None:
    answers = asyncio.Event()

    async def handler(_request: web.Request) -> web.Response:
        await answers.wait()
        return web.json_response(
            {"jobId": "1", "status": "pending", "totalFiles": 1, "totalSize": {"bytes": 1},
             "unindexed": []}
        )  # fmt: skip

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    url = str((await aiohttp_server(app)).make_url("/"))
    async with GatewayClient(url, KEY, timeout=0.05, submit_timeout=PATIENCE) as client:
        submitting = asyncio.create_task(client.submit(files=["a"]))
        with pytest.raises(GatewayClientError, match="did not answer in time"):
            await client.jobs()
        answers.set()
        assert (await submitting).id == "1"
    async with GatewayClient(url, KEY) as client:
        assert (client._submit_timeout.total or 0) > Settings().db_submit_timeout


@pytest.mark.parametrize("text", ["{", "[]", "5", "null", '{"type": 5}', "{}"])
async def test_a_stream_that_is_none_of_ours_ends_the_watch(
    aiohttp_server: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A kind of message that the client does not know is passed over, until nothing else comes.
    monkeypatch.setattr(client_module, "QUIET_SECONDS", 0.5)

    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(text)
        await socket.receive()
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/ws", handler)
    async with GatewayClient(str((await aiohttp_server(app)).make_url("/")), KEY) as client:
        with pytest.raises(GatewayClientError):
            await anext(client.watch(UNKNOWN_ID, patience=0.1))


async def test_a_job_that_is_deleted_ends_its_watch(
    start_server: StartServer,
    database_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "QUIET_SECONDS", 0.05)
    server: Server = await start_server()
    job_id = make_job(database_settings)
    async with GatewayClient(server.url, KEY) as client:
        watching = Watching(client, job_id)
        await watching.until(lambda one: one.kind == "snapshot")
        run(database_settings, "DELETE FROM cache_jobs")
        with pytest.raises(GatewayClientError, match="Job not found"):
            await watching.end()
    assert [one.kind for one in watching.seen] == ["snapshot"]


async def test_being_asked_for_too_often_ends_no_watch(
    start_server: StartServer,
    database_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "QUIET_SECONDS", 0.01)
    server: Server = await start_server(poll_limit_per_minute=2)
    job_id = make_job(database_settings)
    async with GatewayClient(server.url, KEY) as client:
        watching = Watching(client, job_id)
        await watching.until(lambda one: one.kind == "snapshot")
        refused = asyncio.Event()
        read = client_module._read_message

        def reading(text: str) -> Any:
            message = read(text)
            if message["type"] == "error":
                refused.set()
            return message

        monkeypatch.setattr(client_module, "_read_message", reading)
        async with asyncio.timeout(PATIENCE):
            await refused.wait()
        run(database_settings, "UPDATE cache_jobs SET status = 'cancelled'")
        assert (await watching.end())[-1] == "job-cancelled"


def test_what_a_message_leaves_out_stays_as_it_was() -> None:
    counters = {"total": 2, "completed": 1, "failed": 0}
    progress = {
        "files": counters,
        "size": {"totalBytes": 9, "completedBytes": 5},
        "percentage": 50,
    }
    shown = {
        "id": "1", "status": "running", "error": None, "progress": progress,
        "createdAt": "2026-11-24T10:00:00.000Z", "startedAt": None, "completedAt": None,
        "eta": {"seconds": 9}, "throughput": {"mbps": 2.5},
    }  # fmt: skip
    job, _file = models.take(None, {"type": "snapshot", "job": shown})
    message = {"type": "job-progress", "jobId": "1", "status": "running", "error": None}
    job, _file = models.take(job, message | {"progress": progress})
    assert job is not None
    assert (job.seconds_left, job.mbps) == (9, 2.5)
    dropped = {"type": "events-dropped", "jobId": "1", "count": 3}
    assert models.take(job, dropped) == (job, None)
    job, _file = models.take(job, message | {"status": "completed", "progress": progress})
    assert job is not None
    assert (job.seconds_left, job.mbps, job.created_at is None) == (None, None, False)


def test_a_change_is_what_the_watch_yields() -> None:
    assert JobChange is models.JobChange
