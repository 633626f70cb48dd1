"""The short way of polls shows what the long way shows, and leaves to it whatever else there is."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

from gateway.app import create_app
from gateway.auth.api_keys import StoredKey, digest_of
from gateway.auth.callers import Grants, Scope
from gateway.auth.key_secret import make_secret
from gateway.formatting import utc_now
from gateway.http import app_keys
from gateway.job import Job, JobStatus, Progress
from gateway.jobs.cache import FRESH_SECONDS, JobCache
from gateway.server import listener
from gateway.server.access_log import AccessLogger
from gateway.server.listener import serve
from gateway.server.poll_fast_path import PollFastPath, is_enabled
from gateway.settings import Settings
from support.raw_http import Raw

JOB_ID = "6bb4629b-1487-477c-96fe-b762d82a099b"
PATH = f"/api/v1/cache/jobs/{JOB_ID}"
KEY = "own-key"
# What is said anew in each answer.
OWN = ("Date", "X-Request-ID", "RateLimit")
UNLIMITED = {"poll_limit_per_minute": 0}


class Stage:
    """A listener whose polls go the short way if they can; it counts what goes the long way."""

    def __init__(self, app: web.Application) -> None:
        self.app = app
        # No monitors: what they would find out is for the tests to say.
        app.cleanup_ctx.clear()
        self.long = 0
        self.now = 100.0
        self.job = Job(
            JOB_ID, JobStatus.RUNNING, Progress(10, 2, 1, 1000, 200, 70), utc_now(), utc_now(),
            None, None, None, "anna",
        )  # fmt: skip
        app[app_keys.JOB_CACHE] = JobCache(self.read, lambda: self.now)
        app[app_keys.JOB_CACHE].trust()
        app[app_keys.READINESS].set_ready()

    async def read(self, job_id: str) -> Job:
        return replace(self.job, id=job_id)

    @asynccontextmanager
    async def listening(self, hsts_max_age: int) -> AsyncIterator[None]:
        runner = web.AppRunner(self.app, access_log_class=AccessLogger)
        await runner.setup()
        assert runner.server is not None
        handle = runner.server.request_handler

        async def count(request: web.BaseRequest) -> web.StreamResponse:
            self.long += 1
            return await handle(request)

        runner.server.request_handler = PollFastPath(self.app, count, hsts_max_age).answer
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.port}") as self.session:
            yield
        await runner.cleanup()

    async def ask(
        self, path: str = PATH, method: str = "GET", **headers: str
    ) -> tuple[int, CIMultiDict[str], bytes]:
        sent = {"X-API-Key": KEY} | {name.replace("_", "-"): one for name, one in headers.items()}
        async with self.session.request(method, path, headers=sent) as answer:
            return answer.status, CIMultiDict(answer.headers), await answer.read()

    async def ways(self, *arguments: Any, **headers: str) -> tuple[int, int]:
        """The status of an answer, and how many requests went the long way for it."""
        before = self.long
        return (await self.ask(*arguments, **headers))[0], self.long - before


@asynccontextmanager
async def staged(*, hsts_max_age: int = 0, **changes: Any) -> AsyncIterator[Stage]:
    """A stage on which the job is known already."""
    stage = Stage(create_app(Settings(api_gateway_key=KEY, db_host="/nowhere", **changes)))
    async with stage.listening(hsts_max_age):
        assert await stage.ways() == (200, 1)
        yield stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged(**UNLIMITED) as stage:
        yield stage


def lasting(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name not in OWN}


@pytest.mark.parametrize("limit", [0, 120])
@pytest.mark.parametrize("is_known", [False, True])
async def test_both_ways_show_the_same(limit: int, is_known: bool) -> None:
    async with staged(poll_limit_per_minute=limit) as stage:
        tag = (await stage.ask())[1]["ETag"]
        sent = {"If_None_Match": tag} if is_known else {}
        assert await stage.ways(**sent) == (304 if is_known else 200, 0)
        status, headers, body = await stage.ask(**sent)
        assert await stage.ways(f"{PATH}?long", **sent) == (status, 1)
        _, other, other_body = await stage.ask(f"{PATH}?long", **sent)
        assert (lasting(headers), body) == (lasting(other), other_body)
        assert all(name in headers for name in OWN) is bool(limit)
        assert {name for name in OWN if name in headers} == {name for name in OWN if name in other}


async def test_each_poll_draws_one_token_whichever_way_it_goes() -> None:
    async with staged(poll_limit_per_minute=4) as stage:
        left = [
            (await stage.ask(path))[1]["RateLimit"].split(";")[1]
            for path in (PATH, f"{PATH}?long", PATH)
        ]
        assert left == ["r=2", "r=1", "r=0"]
        assert await stage.ways() == (429, 1)


def start_again(stage: Stage) -> None:
    stage.app[app_keys.READINESS].wait_for("PostgreSQL is starting")


@pytest.mark.parametrize("path", [PATH, f"{PATH}?long"])
@pytest.mark.parametrize(
    ("scope", "owner", "limit", "prepare", "expected"),
    [
        (Scope.JOBS_READ, "ben", 3, None, [(200, 2), (200, 1), (200, 0), (429, 0)]),
        (Scope.JOBS_WRITE, "ben", 2, None, [(403, 1), (403, 0), (429, 0)]),
        (Scope.JOBS_READ, "anna", 2, None, [(404, 1), (404, 0), (429, 0)]),
        (Scope.JOBS_READ, "ben", 2, start_again, [(503, 1), (503, 0), (429, 0)]),
        (Scope.JOBS_WRITE, "anna", 1, start_again, [(403, 0), (429, 0)]),
        (None, "ben", 2, None, [(401, 9), (401, 8)]),
    ],
)
async def test_both_ways_admit_alike_and_draw_one_token(
    path: str,
    scope: Scope | None,
    owner: str,
    limit: int,
    prepare: Callable[[Stage], None] | None,
    expected: list[tuple[int, int]],
) -> None:
    async with staged(isolate_callers=True) as stage:
        secret = make_secret()
        grants = Grants(frozenset({scope} if scope else ()), poll_limit_per_minute=limit)
        key = StoredKey("ben", digest_of(secret), grants)
        stage.app[app_keys.API_KEYS].load([key] if scope else [])
        stage.job = replace(stage.job, submitted_by=owner)
        stage.app[app_keys.JOB_CACHE].drop(JOB_ID)
        # With the key of the settings, which has its own bucket: the job is cached again.
        assert (await stage.ask())[0] == 200
        if prepare is not None:
            prepare(stage)
        for status, left in expected:
            answered, headers, body = await stage.ask(path, X_API_Key=secret)
            assert (answered, f";r={left};" in headers["RateLimit"]) == (status, True), headers
            assert json.loads(body)["success"] is (status == 200)


LONG_WAYS = [
    ("GET", f"{PATH}?query", {}, 200),
    ("GET", PATH.upper().replace("/API/V1/CACHE/JOBS", "/api/v1/cache/jobs"), {}, 200),
    ("GET", f"{PATH}/", {}, 404),
    ("GET", f"{PATH}x", {}, 400),
    ("GET", "/api/v1/cache/jobs/", {}, 404),
    ("GET", "/livez", {}, 200),
    ("HEAD", PATH, {}, 405),
    ("PUT", PATH, {}, 405),
    ("OPTIONS", PATH, {}, 204),
    ("GET", PATH, {"Origin": "https://example.com"}, 200),
    ("GET", PATH, {"Expect": "something"}, 417),
    ("GET", PATH, {"Connection": "close"}, 200),
    ("GET", PATH, {"X_API_Key": "wrong"}, 401),
    ("GET", PATH, {"X_API_Key": ""}, 401),
    ("GET", PATH, {"X_API_Key": "\udcff"}, 401),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), LONG_WAYS)
async def test_what_is_out_of_the_ordinary_goes_the_long_way(
    stage: Stage, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert await stage.ways() == (200, 0)
    assert await stage.ways(path, method, **headers) == (status, 1)


async def test_a_page_of_another_origin_may_read_the_job(stage: Stage) -> None:
    _, headers, _ = await stage.ask(Origin="https://example.com")
    assert headers["Access-Control-Allow-Origin"] == "https://example.com"
    assert "Access-Control-Allow-Origin" not in (await stage.ask())[1]


async def test_http_1_0_goes_the_long_way_and_is_answered_in_kind(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(f"GET {PATH} HTTP/1.0\r\nX-API-Key: {KEY}\r\n\r\n".encode())
    assert (await reader.read()).startswith(b"HTTP/1.0 200 OK\r\n")
    assert stage.long == 2
    writer.close()


async def test_many_polls_at_once_on_a_connection_are_answered_in_order(stage: Stage) -> None:
    raw = await Raw.open(stage.port)
    ids = [f"number-{number}" for number in range(200)]
    for one in ids:
        head = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nX-Request-ID: {one}\r\n\r\n"
        raw.send(head.encode())
    for one in ids:
        head = await raw.reader.readuntil(b"\r\n\r\n")
        assert f"X-Request-ID: {one}\r\n".encode() in head
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        assert JOB_ID.encode() in await raw.reader.readexactly(length)
    assert stage.long == 1
    raw.writer.close()


async def test_an_id_that_would_break_the_head_is_replaced(stage: Stage) -> None:
    assert (await stage.ask(X_Request_ID="mine-1"))[1]["X-Request-ID"] == "mine-1"
    assert (await stage.ask(X_Request_ID="no id"))[1]["X-Request-ID"] != "no id"


async def test_a_job_is_read_anew_once_a_second_and_when_it_has_changed(stage: Stage) -> None:
    stage.now += FRESH_SECONDS
    assert await stage.ways() == (200, 1)
    assert await stage.ways() == (200, 0)
    stage.app[app_keys.JOB_CACHE].drop(JOB_ID)
    assert await stage.ways() == (200, 1)


async def test_while_the_gateway_is_not_ready_it_says_so(stage: Stage) -> None:
    stage.app[app_keys.READINESS].wait_for("PostgreSQL is starting")
    assert await stage.ways() == (503, 1)


def stored(secret: str, *scopes: Scope, **more: Any) -> StoredKey:
    return StoredKey("ben", digest_of(secret), Grants(frozenset(scopes)), **more)


async def test_a_key_opens_the_short_way_as_long_as_it_holds(stage: Stage) -> None:
    api_keys, secret = stage.app[app_keys.API_KEYS], make_secret()
    key = stored(secret, Scope.JOBS_READ)
    api_keys.load([key])
    assert await stage.ways(X_API_Key=secret) == (200, 0)
    for changed in (
        replace(key, is_disabled=True),
        replace(key, is_revoked=True),
        replace(key, expires_at=1.0),
    ):
        api_keys.load([changed])
        assert await stage.ways(X_API_Key=secret) == (401, 1)
    api_keys.load([stored(secret, Scope.JOBS_WRITE)])
    assert await stage.ways(X_API_Key=secret) == (403, 1)
    api_keys.replace("another")
    assert await stage.ways() == (401, 1)


async def test_anothers_job_is_not_found_on_either_way() -> None:
    async with staged(isolate_callers=True) as stage:
        secret = make_secret()
        stage.app[app_keys.API_KEYS].load([stored(secret, Scope.JOBS_READ)])
        assert await stage.ways(X_API_Key=secret) == (404, 1)
        stage.job = replace(stage.job, submitted_by="ben")
        stage.app[app_keys.JOB_CACHE].drop(JOB_ID)
        assert await stage.ways(X_API_Key=secret) == (200, 1)
        assert await stage.ways(X_API_Key=secret) == (200, 0)


async def test_who_came_by_https_is_asked_to_keep_to_it() -> None:
    async with staged(trusted_proxies=("127.0.0.1",), hsts_max_age=60) as stage:
        for proto, expected in (("https", "max-age=60"), ("http", None)):
            before = stage.long
            _, headers, _ = await stage.ask(X_Forwarded_Proto=proto)
            assert headers.get("Strict-Transport-Security") == expected
            assert stage.long == before


async def test_tokens_are_drawn_for_the_client_behind_a_trusted_proxy() -> None:
    async with staged(trusted_proxies=("127.0.0.1",), poll_limit_per_minute=2) as stage:
        near = {"X_Forwarded_For": "192.0.2.1"}
        assert [await stage.ways(**near) for _ in range(3)] == [(200, 0), (200, 0), (429, 1)]
        assert await stage.ways(X_Forwarded_For="192.0.2.2") == (200, 0)


async def test_polls_are_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aiohttp.access")
    async with staged(**UNLIMITED) as stage:
        assert await stage.ways(X_Request_ID="mine-1") == (200, 0)
    line = caplog.messages[-1]
    assert line.startswith(f"127.0.0.1 GET {PATH} 200 ")
    assert line.endswith(" ms mine-1")
    families = {family.name: family for family in stage.app[app_keys.PROMETHEUS].requests.collect()}
    counted = families["teamcache_gateway_requests"].samples[0]
    assert counted.labels == {
        "method": "GET", "route": "/api/v1/cache/jobs/{job_id}", "status": "200",
    }  # fmt: skip
    assert counted.value == 2


def test_who_has_a_say_in_answers_is_asked_for_each() -> None:
    def make() -> web.Application:
        app = create_app(Settings(db_host="/nowhere"))
        # The tests' own look at answers.
        app.on_response_prepare.pop()
        return app

    async def sign(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Signed"] = "yes"

    @web.middleware
    async def pass_on(request: web.Request, handler: Any) -> Any:
        return await handler(request)

    signing, guarded = make(), make()
    signing.on_response_prepare.append(sign)
    guarded.middlewares.append(pass_on)
    assert (is_enabled(make()), is_enabled(signing), is_enabled(guarded)) == (True, False, False)
    assert not is_enabled(web.Application())


async def test_a_served_gateway_answers_polls_on_the_short_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick: list[Any] = []
    answer_poll = PollFastPath._answer_poll

    def note(self: PollFastPath, request: web.BaseRequest) -> Any:
        quick.append(answer_poll(self, request))
        return quick[-1]

    # The tests' look at answers would keep them from it.
    monkeypatch.setattr(listener, "is_enabled", lambda _app: True)
    monkeypatch.setattr(PollFastPath, "_answer_poll", note)
    app = create_app(Settings(api_gateway_key=KEY, db_host="/nowhere", api_gateway_port=0))
    Stage(app)
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, app[app_keys.SETTINGS], stop, listening.set_result))
    async with aiohttp.ClientSession(await listening, headers={"X-API-Key": KEY}) as session:
        for _ in range(2):
            async with session.get(PATH) as answer:
                assert answer.status == 200
    assert [one is not None for one in quick] == [False, True]
    stop.set()
    await task
