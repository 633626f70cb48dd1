"""HTTP as bytes on a socket: what no client that is well brought up would send."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from gateway.app import create_app
from gateway.http import app_keys
from gateway.server.listener import serve
from gateway.settings import Settings

PATIENCE = 30.0
KEY = b"X-API-Key: demo-api-key-2024\r\n"
LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
JOBS = (
    b"POST /api/v1/cache/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    + KEY
)


@asynccontextmanager
async def serving(**changes: Any) -> AsyncIterator[tuple[Any, int]]:
    """A gateway that is served as in production, its database away; the app and its port."""
    settings = Settings(
        **{"db_host": "/nowhere", "api_gateway_port": 0, "rate_limit_per_minute": 0} | changes
    )
    app = create_app(settings)
    app[app_keys.READINESS].check = lambda: None  # type: ignore[method-assign]
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, settings, stop, listening.set_result))
    yield app, int((await listening).rpartition(":")[2])
    stop.set()
    await task


class Raw:
    """A connection that sends bytes as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1") -> Raw:
        return cls(*await asyncio.open_connection(host, port))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, bytes]:
        """One answer: its status and body."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            body = await self.reader.readexactly(int(length or 0))
        return int(head.split(b" ")[1]), body

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        self.send(request)
        return await self.answer()

    async def end(self) -> bytes:
        """What comes until the other side closes, which it has to do."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                return await self.reader.read()
        return b""

    def close(self) -> None:
        self.writer.transport.abort()


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + KEY + b"\r\n"
)


async def connect_raw(host: str, port: int) -> sockets.socket:
    """A client that shakes hands and never reads."""
    connection = sockets.socket()
    connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (host, port))
    await loop.sock_sendall(connection, HANDSHAKE)
    return connection


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
