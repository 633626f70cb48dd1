"""What the tests of the WebSocket share: a listener that notes all that it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

PATIENCE = 30.0
JOB_EVENTS = {
    "job-created",
    "job-started",
    "job-progress",
    "job-completed",
    "job-failed",
    "job-cancelled",
}

Message = dict[str, Any]


class Listener:
    """A connected client. ``seen`` is everything that it was told, in order."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: list[Message] = []

    async def ask(self, **message: Any) -> None:
        await self.socket.send_bytes(orjson.dumps(message))

    async def next(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            message = await self.socket.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        self.seen.append(orjson.loads(message.data))
        return self.seen[-1]

    async def next_of(self, *kinds: str) -> Message:
        """The next message of these types; others are noted."""
        while (message := await self.next())["type"] not in kinds:
            pass
        return message

    async def subscribe(self, **what: Any) -> Message:
        await self.ask(type="subscribe", **what)
        return await self.next_of("snapshot")

    async def error(self) -> str:
        text: str = (await self.next_of("error"))["error"]
        return text

    async def sync(self) -> None:
        """Have everything told that was published before."""
        await self.ask(type="ping")
        await self.next_of("pong")

    def events_of(self, job_id: str) -> list[str]:
        """The types of the job's events so far."""
        return [m["type"] for m in self.seen if m.get("jobId") == job_id and "status" in m]

    def percentages(self, job_id: str) -> list[int]:
        return [
            m["progress"]["percentage"]
            for m in self.seen
            if m.get("jobId") == job_id and "progress" in m
        ]


@asynccontextmanager
async def listening(api: Any, url: str = "/ws", **arguments: Any) -> AsyncIterator[Listener]:
    """A client of the WebSocket that shows the key of ``api``, if it has one."""
    async with api.ws_connect(url, max_msg_size=0, **arguments) as socket:
        listener = Listener(socket)
        assert (await listener.next())["type"] == "metrics"
        yield listener
