"""WebSockets and keys: what each may hear, and what becomes of it when its key ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.auth.callers import Scope
from gateway.http import app_keys
from gateway.settings import Settings
from support.database import StartApi
from support.index_rows import run
from support.key_kit import change_key, closing_code, known_to, make_key, until_status
from support.stream_kit import Listener, listening


@pytest.mark.parametrize("shown", ["header", "message"])
@pytest.mark.parametrize("verb", ["revoke", "disable", "expire", "narrow", "delete"])
async def test_a_socket_is_closed_when_its_key_holds_no_more(
    api: Any, database_settings: Settings, shown: str, verb: str
) -> None:
    headers = await known_to(api, await make_key(database_settings, "render"))
    other = await known_to(api, await make_key(database_settings, "other"))
    async with (
        connected(api, headers if shown == "header" else None) as mine,
        connected(api, other) as stranger,
    ):
        if shown == "message":
            await mine.ask(type="auth", apiKey=headers["X-API-Key"])
        await mine.subscribe(channel="jobs")
        await stranger.subscribe(channel="jobs")
        await end(database_settings, verb)
        assert await closing_code(mine.socket) == 1008
        # It was another's.
        await stranger.sync()


def connected(api: Any, headers: dict[str, str] | None) -> Any:
    if headers is None:
        api.session.headers.pop("X-API-Key", None)
    return listening(api, headers=headers or {})


async def end(settings: Settings, verb: str) -> None:
    if verb in ("revoke", "disable"):
        await change_key(settings, verb, "render")
        return
    table = "teamcache_gateway.api_keys"
    statement = {
        "expire": f"UPDATE {table} SET expires_at = now() - interval '1 second'",
        "narrow": f"UPDATE {table} SET scopes = '{{metrics:read}}'",
        "delete": f"DELETE FROM {table}",
    }[verb]
    run(settings, f"{statement} WHERE name = 'render'")


async def test_a_socket_is_closed_at_the_end_of_its_key_though_nothing_is_announced(
    api: Any, database_settings: Settings
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=6)
    secret = await make_key(database_settings, "render", expires_at=soon)
    await known_to(api, secret)
    headers = {"X-API-Key": secret}
    async with listening(api, headers=headers) as listener:
        await listener.subscribe(channel="jobs")
        assert await closing_code(listener.socket) == 1008
    assert datetime.now(UTC) >= soon
    await until_status(api, headers, lambda code: code == 401)
    async with asyncio.timeout(30):
        while api.server.app[app_keys.API_KEYS]._subscribers:
            await asyncio.sleep(0.01)


async def test_a_socket_that_had_no_key_outlives_all_of_them(
    api: Any, database_settings: Settings
) -> None:
    await known_to(api, await make_key(database_settings, "render"))
    async with connected(api, None) as stranger:
        await change_key(database_settings, "revoke", "render")
        await stranger.sync()


async def test_jobs_are_for_keys_that_may_read_them(api: Any, database_settings: Settings) -> None:
    headers = await known_to(api, await make_key(database_settings, "w", [Scope.JOBS_WRITE]))
    async with listening(api, headers=headers) as listener:
        await listener.ask(type="subscribe", channel="jobs")
        assert await listener.error() == 'The API key "w" lacks the scope jobs:read'
        await listener.sync()


@pytest.mark.parametrize("shown", ["header", "message"])
async def test_private_metrics_are_told_to_those_who_may_read_them(
    start_api: StartApi, database_settings: Settings, shown: str
) -> None:
    api = await start_api(public_metrics=False)
    may = await make_key(database_settings, "grafana", [Scope.METRICS_READ])
    may_not = await make_key(database_settings, "render")
    for secret in (may, may_not):
        await known_to(api, secret)
    del api.session.headers["X-API-Key"]
    for secret, kinds in ((may, ["metrics"]), (may_not, []), (None, [])):
        headers = {"X-API-Key": secret} if secret and shown == "header" else {}
        async with api.ws_connect("/ws", headers=headers) as socket:
            listener = Listener(socket)
            if secret and shown == "message":
                await listener.ask(type="auth", apiKey=secret)
                await listener.next_of("authenticated")
            await listener.sync()
            told = [message["type"] for message in listener.seen]
            assert [it for it in told if it not in ("authenticated", "pong")] == kinds


async def test_who_fails_to_prove_a_key_hears_no_private_metrics_any_more(
    start_api: StartApi, database_settings: Settings
) -> None:
    api = await start_api(public_metrics=False)
    hub = api.server.app[app_keys.HUB]
    async with listening(api) as listener:
        assert hub.has_subscribers("metrics")
        await listener.ask(type="auth", apiKey="wrong")
        assert await listener.error() == "Invalid or missing API key"
        assert not hub.has_subscribers("metrics")


async def test_one_handshake_with_a_revoked_key_is_refused(
    api: Any, database_settings: Settings
) -> None:
    headers = await known_to(api, await make_key(database_settings, "render"))
    await change_key(database_settings, "revoke", "render")
    await until_status(api, headers, lambda code: code == 401)
    handshake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    response = await api.get("/ws", headers={**headers, **handshake})
    assert response.status == 401
