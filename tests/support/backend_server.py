"""The TeamCache backend as its WebSocket shows it: the test says what it sends."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
from aiohttp import web

PATIENCE = 30.0


class Backend:
    """Takes connections; sends to the newest one."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0
        self.refusal: int | None = None
        self._socket: web.WebSocketResponse | None = None
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Open the port: any the first time, later the same again."""
        app = web.Application()
        app.router.add_get("/", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    async def connected(self, times: int = 1) -> None:
        """Wait until somebody has connected for the n-th time."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.connections >= times)

    async def send(self, *messages: Any) -> None:
        """Send texts and bytes as they are, everything else as JSON."""
        assert self._socket is not None
        for message in messages:
            if isinstance(message, bytes):
                await self._socket.send_bytes(message)
            elif isinstance(message, str):
                await self._socket.send_str(message)
            else:
                await self._socket.send_str(orjson.dumps(message).decode())

    async def hang_up(self) -> None:
        assert self._socket is not None
        await self._socket.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self.refusal is not None:
            return web.Response(status=self.refusal, text="<h1>Not now</h1>")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async with self._changed:
            self._socket = socket
            self.connections += 1
            self._changed.notify_all()
        async for _ in socket:
            pass
        return socket


@asynccontextmanager
async def backend_server() -> AsyncIterator[Backend]:
    backend = Backend()
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()


@asynccontextmanager
async def raw_backend(respond: Callable[[bytes], Iterable[bytes]]) -> AsyncIterator[str]:
    """A TCP server that answers the handshake with whatever bytes, then says nothing any more."""
    tasks: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            request = await reader.readuntil(b"\r\n\r\n")
            writer.writelines(respond(request))
            await writer.drain()
            await asyncio.sleep(3600)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        for task in tasks:
            task.cancel()
        server.close()
        await server.wait_closed()


def accept_handshake(request: bytes) -> bytes:
    """The answer that makes the connection a WebSocket (RFC 6455, section 4.2.2)."""
    lines = request.decode("latin-1").splitlines()
    [key] = [line.split(": ")[1] for line in lines if line.lower().startswith("sec-websocket-key")]
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )
