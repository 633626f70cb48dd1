"""API keys of the database, as an operator makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp

from gateway.auth.callers import Scope
from gateway.auth.key_store import KeyStore, NewKey
from gateway.database import Database
from gateway.settings import Settings

PATIENCE = 30.0
JOBS = "/api/v1/cache/jobs"
USUAL = (Scope.JOBS_READ, Scope.JOBS_WRITE)


async def make_key(
    settings: Settings, name: str, scopes: Sequence[Scope] = USUAL, **more: Any
) -> str:
    """The secret of a new key."""
    async with Database(settings) as database:
        secret = await KeyStore(database).create(NewKey(name, scopes, **more))
    assert secret is not None
    return secret


async def change_key(settings: Settings, verb: str, name: str) -> None:
    async with Database(settings) as database:
        await getattr(KeyStore(database), verb)(name)


async def known_to(api: Any, secret: str) -> dict[str, str]:
    """The headers that show the secret, once the gateway has heard of it."""
    headers = {"X-API-Key": secret}
    await until_status(api, headers, lambda status: status not in (401, 503))
    return headers


async def until_status(api: Any, headers: dict[str, str], wanted: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not wanted(await status(api, headers)):
            await asyncio.sleep(0.01)


async def status(api: Any, headers: dict[str, str], path: str = f"{JOBS}/-") -> int:
    """What a read of a job that cannot be is answered with: 400 to whoever may read."""
    answer: int = (await api.get(path, headers=headers)).status
    return answer


async def closing_code(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """Wait for the end of a WebSocket, and give the code of the frame that closes it.

    The client's own ``close_code`` is another if the connection ends before it can reply.
    """
    async with asyncio.timeout(PATIENCE):
        while not socket.closed:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return int(message.data)
    return socket.close_code
