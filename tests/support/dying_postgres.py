"""A way to PostgreSQL on which a server seems to die: in mid-sentence, what it got unread."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Self

from gateway.settings import Settings

AUTHENTICATED = b"R\0\0\0\x08\0\0\0\0"
# ParameterStatus: a server may send one at any time, and more is awaited after it.
PARAMETER = b"S\0\0\0\x08a\0b\0"
STATEMENT = b"Q"


class DyingPostgres:
    """Leads from a socket of its own to PostgreSQL's. It passes everything on until told to die.

    ``dies_at_start`` and ``dies_at_statement`` are for the next one; then all is well again.
    ``is_silent``: the next connection is never answered.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings.model_copy(update={"db_host": str(folder)})
        self.dies_at_start = self.dies_at_statement = self.is_silent = False
        self.deaths = 0
        self.silences = asyncio.Event()
        name = f".s.PGSQL.{settings.db_port}"
        self._server, self._own = f"{settings.db_host}/{name}", f"{folder}/{name}"
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(self._own)
        self._listener.listen()
        self._start(self._accept())
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.ensure_future(work))

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._listener)
            client.setblocking(False)
            self._start(self._serve(client))

    async def _serve(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with client, socket.socket(socket.AF_UNIX) as server:
            if self.is_silent:
                self.is_silent = False
                self.silences.set()
                await asyncio.Event().wait()
            if self.dies_at_start:
                self.dies_at_start = False
                await _first_byte(client)
                self._die(client, AUTHENTICATED)
                return
            server.setblocking(False)
            await loop.sock_connect(server, self._server)
            back = asyncio.ensure_future(_pass_on(server, client))
            try:
                await self._pass_on_statements(client, server)
            finally:
                back.cancel()
                await asyncio.gather(back, return_exceptions=True)

    async def _pass_on_statements(self, client: socket.socket, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while first := await _first_byte(client):
                if first == STATEMENT and self.dies_at_statement:
                    self.dies_at_statement = False
                    self._die(client, PARAMETER)
                    return
                await loop.sock_sendall(server, await loop.sock_recv(client, 65536))

    def _die(self, client: socket.socket, last_words: bytes) -> None:
        """At once: a client in our own loop sees the words and the end together."""
        client.send(last_words)
        client.close()
        self.deaths += 1


async def _first_byte(client: socket.socket) -> bytes:
    """The first byte that can be read, which stays unread; nothing at the end."""
    while True:
        try:
            return client.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            await asyncio.sleep(0.001)


async def _pass_on(server: socket.socket, client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while data := await loop.sock_recv(server, 65536):
            await loop.sock_sendall(client, data)
