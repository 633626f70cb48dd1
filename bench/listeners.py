"""WebSocket clients in a process of their own: ``python -m bench.listeners PORT COUNT BATCH``.

They read as cheaply as can be, so that who writes is what is measured. A line is printed when all
are connected and have their first message, and one whenever ``BATCH`` more have come to each.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from gateway.runtime.process import run

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
AT_ONCE = 50
PING = 0x89
# Masked with zeros, and without the ping's payload: our heartbeats have none.
PONG = b"\x8a\x80\x00\x00\x00\x00"


class _Listener(asyncio.Protocol):
    """Counts the frames that come; those of a gateway are short and unmasked."""

    def __init__(self, count: _Count) -> None:
        self._count = count
        self._buffer = b""
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head, head
            self._is_open, self._buffer = True, rest
        self._count.add(self._take_frames())

    def connection_lost(self, error: Exception | None) -> None:
        sys.exit(f"A listener was cut off: {error}")

    def _take_frames(self) -> int:
        frames = start = 0
        buffer = self._buffer
        while len(buffer) - start >= 2:
            size = buffer[start + 1]
            head = 2
            if size == 126:
                head, size = 4, int.from_bytes(buffer[start + 2 : start + 4], "big")
            if len(buffer) < start + head + size:
                break
            if buffer[start] == PING:
                self._transport.write(PONG)
            else:
                frames += 1
            start += head + size
        self._buffer = buffer[start:]
        return frames


class _Count:
    """Frames that came to all listeners; prints a line whenever as many as are due have come."""

    def __init__(self, listeners: int, batch: int) -> None:
        self._batch = listeners * batch
        self._came = 0
        self._due = listeners  # the first message of each

    def add(self, frames: int) -> None:
        self._came += frames
        if self._came >= self._due:
            print(self._came, flush=True)
            self._due += self._batch


async def listen(port: int, listeners: int, batch: int) -> None:
    count = _Count(listeners, batch)
    loop = asyncio.get_running_loop()
    for first in range(0, listeners, AT_ONCE):
        few = range(first, min(first + AT_ONCE, listeners))
        await asyncio.gather(
            *(loop.create_connection(lambda: _Listener(count), "127.0.0.1", port) for _ in few)
        )
    await asyncio.Event().wait()


if __name__ == "__main__":
    run(listen(*map(int, sys.argv[1:])))
