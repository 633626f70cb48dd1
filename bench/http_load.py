"""Clients that ask one URL again and again, each on a connection of its own."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import cast

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


class _Client(asyncio.Protocol):
    """One connection: sends the request, reads the answer whole, sends it again.

    A client library would cost more than the servers that are measured.
    """

    def __init__(self, request: bytes, status: bytes, count: int) -> None:
        self._request = request
        self._expected = b"HTTP/1.1 " + status
        self._left = count
        self._buffer = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = CONTENT_LENGTH.search(self._buffer, 0, end)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) >= whole:
            self._answered()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("The server hung up"))

    def _answered(self) -> None:
        if not self._buffer.startswith(self._expected):
            self.done.set_exception(AssertionError(self._buffer[:500]))
            self._transport.abort()
            return
        self._buffer = b""
        self._left -= 1
        if self._left:
            self._transport.write(self._request)
        else:
            self.done.set_result(None)
            self._transport.close()


async def ask(
    port: int,
    path: str,
    headers: Mapping[str, str],
    *,
    status: int = 200,
    requests: int,
    connections: int = 16,
) -> float:
    """The seconds that so many requests take in all; raises if one is answered otherwise."""
    lines = [f"GET {path} HTTP/1.1", "Host: bench", *(f"{k}: {v}" for k, v in headers.items())]
    request = "\r\n".join([*lines, "", ""]).encode()
    share = requests // connections
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: _Client(request, str(status).encode(), share), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    return time.perf_counter() - started
