"""What a WebSocket may still do when its key is no longer valid."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import WSMsgType

from gateway.events import hub as events
from gateway.http import app_keys
from gateway.settings import Settings
from support.database import StartApi
from support.index_rows import make_job
from support.stream_kit import PATIENCE, listening

KEY = "a-secret-of-our-own"


@pytest.fixture
async def api(start_api: StartApi) -> Any:
    return await start_api(api_gateway_key=KEY, api_key_file="")


async def test_sockets_that_have_shown_a_key_are_closed_when_it_is_replaced(api: Any) -> None:
    hub, api_keys = api.server.app[app_keys.HUB], api.server.app[app_keys.API_KEYS]
    nobody = {"X-API-Key": KEY}
    async with listening(api) as shown, listening(api) as asked:
        del api.session.headers["X-API-Key"]
        async with listening(api) as stranger:
            await asked.ask(type="auth", apiKey=KEY)
            await asked.next_of("authenticated")
            await shown.subscribe(channel="jobs")
            api_keys.replace(KEY)  # the same: nothing has changed
            await shown.sync()
            api_keys.replace("another")
            for listener in (shown, asked):
                async with asyncio.timeout(PATIENCE):
                    message = await listener.socket.receive()
                assert (message.type, message.data) == (WSMsgType.CLOSE, 1008)
                assert message.extra == "API key is no longer valid"
            await stranger.sync()
            assert events.JOBS not in hub._subscribers
            await stranger.ask(type="auth", apiKey=nobody["X-API-Key"])
            assert await stranger.error() == "Invalid or missing API key"
            await stranger.ask(type="auth", apiKey="another")
            await stranger.next_of("authenticated")
            await stranger.subscribe(channel="jobs")
    async with asyncio.timeout(PATIENCE):
        while api_keys._subscribers:
            await asyncio.sleep(0)


async def test_who_fails_to_prove_a_key_is_nobody_and_is_told_of_no_more_jobs(
    api: Any, database_settings: Settings
) -> None:
    job_id = make_job(database_settings)
    hub = api.server.app[app_keys.HUB]
    async with listening(api) as listener:
        await listener.subscribe(channel="jobs")
        await listener.subscribe(channel="job", jobId=job_id, files=True)
        await listener.ask(type="auth", apiKey="wrong")
        assert await listener.error() == "Invalid or missing API key"
        assert set(hub._subscribers) == {events.METRICS}
        await listener.ask(type="subscribe", channel="jobs")
        assert await listener.error() == "Invalid or missing API key"


async def test_auth_without_its_field_is_told_which_one_is_missing(api: Any) -> None:
    async with listening(api) as listener:
        await listener.ask(type="auth", apikey=KEY)
        assert await listener.error() == "auth needs the field apiKey"
        await listener.subscribe(channel="jobs")


async def test_a_request_without_an_upgrade_is_told_that_this_is_a_websocket(api: Any) -> None:
    for headers in ({}, {"Upgrade": "h2c"}):
        response = await api.get("/ws", headers=headers)
        assert (response.status, await response.json()) == (
            400,
            {"success": False, "error": "This URL speaks WebSocket"},
        )
