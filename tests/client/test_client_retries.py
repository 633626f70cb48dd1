"""A submit of the client's that got no answer is sent again, and makes no second job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from gateway.client import GatewayClient, GatewayClientError, GatewayUnreachable
from gateway.settings import Settings
from support.cli_kit import User
from support.client_server import KEY, Server, quiet_port
from support.index_rows import add_files, count_rows

CREATED = {
    "jobId": "1", "status": "pending", "totalFiles": 1, "totalSize": {"bytes": 1}, "unindexed": [],
}  # fmt: skip
PATIENCE = 30.0


@asynccontextmanager
async def cutting_relay(port: int, cuts: int) -> AsyncIterator[str]:
    """The way to a gateway on which the first ``cuts`` answers are lost, after they were given."""
    left = cuts

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        onward, upstream = await asyncio.open_connection("127.0.0.1", port)
        passing = asyncio.create_task(pass_on(reader, upstream))
        while data := await onward.read(65536):
            if left > 0 and data.startswith(b"HTTP/1.1 201"):
                left -= 1
                break
            writer.write(data)
        passing.cancel()
        upstream.close()
        writer.close()

    listener = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await listener.wait_closed()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


async def test_a_submit_whose_answer_is_lost_makes_one_job(
    server: Server,
    database_settings: Settings,
) -> None:
    add_files(database_settings, ["a/1.mov", "a/2.mov"])
    port = server.settings.api_gateway_port
    async with cutting_relay(port, 3) as url, GatewayClient(url, KEY) as client:
        job = await client.submit(directories=["a"])
        assert count_rows(database_settings) == (1, 2)
        assert (await client.status(job.id)).total_files == 2
        assert (await client.submit(directories=["a"])).id != job.id


async def test_the_command_makes_one_job_too(
    server: Server,
    database_settings: Settings,
    tmp_path: Any,
) -> None:
    add_files(database_settings, ["a/1.mov"])
    named = ("submit", "a/1.mov", "--json", "--idempotency-key", 'the "first" one')
    async with cutting_relay(server.settings.api_gateway_port, 2) as url:
        first = await User(url, tmp_path).run(*named)
    again = await User(server.url, tmp_path).run(*named)
    assert (first.code, again.code) == (0, 0), first.errors
    assert first.json() == again.json()
    assert count_rows(database_settings) == (1, 1)
    other = await User(server.url, tmp_path).run(*named, "new.mov")
    assert other.code == 5
    assert "This Idempotency-Key was used for another request" in other.errors
    wrong = await User(server.url, tmp_path).run("submit", "a/1.mov", "--idempotency-key", "ä")
    assert wrong.code == 5
    assert "Idempotency-Key must be" in wrong.errors


Play = Callable[..., Awaitable[tuple[GatewayClient, list[str]]]]


@pytest.fixture
def play(aiohttp_server: Any) -> Play:
    """A client of something that answers submits so, one after another; and the keys it gets."""

    async def start(*answers: int, **options: Any) -> tuple[GatewayClient, list[str]]:
        keys: list[str] = []

        async def answer(request: web.Request) -> web.Response:
            status = answers[min(len(keys), len(answers) - 1)]
            keys.append(request.headers["Idempotency-Key"])
            if status == 0:
                assert request.transport is not None
                request.transport.abort()
            if status == 201:
                return web.json_response(CREATED, status=201)
            headers = {"Retry-After": "1"} if status == 503 else {}
            return web.json_response({"error": "No"}, status=status, headers=headers)

        app = web.Application()
        app.router.add_post("/api/v1/cache/jobs", answer)
        client = GatewayClient(str((await aiohttp_server(app)).make_url("/")), KEY, **options)
        return client, keys

    return start


@pytest.mark.parametrize("answers", [(201,), (0, 201), (503, 201), (409, 409, 201), (0, 503, 201)])
async def test_every_attempt_bears_the_same_key(play: Play, answers: tuple[int, ...]) -> None:
    client, keys = await play(*answers)
    async with client:
        assert (await client.submit(files=["a"])).id == "1"
        assert (await client.submit(files=["a"])).id == "1"
    *attempts, other = keys
    assert len(attempts) == len(answers)
    assert len(set(attempts)) == 1
    assert other not in attempts


async def test_a_key_of_ones_own_is_used(play: Play) -> None:
    client, keys = await play(201)
    async with client:
        await client.submit(files=["a"], idempotency_key='my "own\\')
        with pytest.raises(GatewayClientError, match="cannot be sent"):
            await client.submit(files=["a"], idempotency_key="a\nb")
    assert keys == [r'"my \"own\\"']


@pytest.mark.parametrize("status", [400, 401, 403, 413, 422, 500, 502])
async def test_what_asking_again_does_not_mend_is_raised_at_once(play: Play, status: int) -> None:
    client, keys = await play(status)
    async with client:
        with pytest.raises(GatewayClientError) as refused:
            await client.submit(files=["a"])
    assert refused.value.status == status
    assert len(keys) == 1


async def test_patience_ends(play: Play) -> None:
    waits: list[float] = []
    client, keys = await play(503, on_wait=waits.append)
    async with client:
        with pytest.raises(GatewayClientError) as refused:
            await client.submit(files=["a"], patience=1.5)
    assert refused.value.status == 503
    assert len(keys) in (1, 2)
    assert waits == [1] * (len(keys) - 1)
    client, keys = await play(0)
    async with client:
        with pytest.raises(GatewayUnreachable):
            await client.submit(files=["a"], patience=0)
    assert len(keys) == 1


async def test_where_nobody_listens_nothing_is_waited_for() -> None:
    async with GatewayClient(f"http://127.0.0.1:{quiet_port()}", KEY) as client:
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(GatewayUnreachable):
                await client.submit(files=["a"], patience=10 * PATIENCE)


async def test_a_gateway_that_restarts_under_a_submit_is_waited_for(
    start_server: Any,
    database_settings: Settings,
) -> None:
    add_files(database_settings, ["a/1.mov"])
    server: Server = await start_server()
    port = server.settings.api_gateway_port
    async with cutting_relay(port, 1) as url, GatewayClient(url, KEY) as client:
        submitting = asyncio.create_task(client.submit(directories=["a"], patience=PATIENCE))
        async with asyncio.timeout(PATIENCE):
            while not count_rows(database_settings)[0]:
                await asyncio.sleep(0.01)
        await server.stop()
        await server.start()
        job = await submitting
        assert (await client.status(job.id)).total_files == 1
    assert count_rows(database_settings) == (1, 1)
