"""A TCP proxy that does to its connections what networks and dying servers do."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any, Self

from gateway.standalone.postgres import EmbeddedPostgres

CHUNK = 64 * 1024
# Closing sends a reset, not an end.
WITH_RESET = struct.pack("ii", 1, 0)


class FaultProxy:
    """Leads from a port of this machine to PostgreSQL. It passes everything on until told not to.

    A fault is for the connections there are as well as for new ones, until `heal`. What a black
    hole swallowed is lost: such a connection is of no use any more, and reset when it is healed.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._links: set[_Link] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self.port = 0
        self.is_black_hole = False
        self.is_resetting = False
        self.delay = 0.0
        self.cut_after: int | None = None

    @classmethod
    def before(cls, server: EmbeddedPostgres) -> Self:
        return cls(server.host, server.port)

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.stop_accepting()
        self.drop()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def accept(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop_accepting(self) -> None:
        """New connections are refused, those there are go on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def drop(self) -> None:
        """Reset every connection."""
        for link in tuple(self._links):
            link.reset()

    def black_hole(self) -> None:
        """Take everything, pass nothing on, and say nothing."""
        self.is_black_hole = True

    def reset(self) -> None:
        """Reset every connection, now and as they come."""
        self.is_resetting = True
        self.drop()

    async def go_away(self) -> None:
        """Reset every connection, refuse new ones."""
        await self.stop_accepting()
        self.drop()

    async def heal(self) -> None:
        """Pass everything on again."""
        if self.is_black_hole:
            self.drop()
        self.is_black_hole = self.is_resetting = False
        self.delay, self.cut_after = 0.0, None
        if self._listener is None:
            await self.accept()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._links.add(link)
        self._serving.add(task)
        try:
            await link.run(*self._target)
        finally:
            self._links.discard(link)
            self._serving.discard(task)


class _Link:
    """One connection through the proxy."""

    def __init__(
        self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writers = [writer]
        self._passed = 0

    async def run(self, host: str, port: int) -> None:
        if self._proxy.is_resetting:
            self.reset()
            return
        try:
            if host.startswith("/"):
                opened = asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
            else:
                opened = asyncio.open_connection(host, port)
            back, forth = await opened
        except OSError:
            self.reset()
            return
        client = self._writers[0]
        self._writers.append(forth)
        with suppress(ConnectionError):
            await asyncio.gather(self._pump(self._reader, forth), self._pump(back, client))
        for writer in self._writers:
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            if self._proxy.delay:
                await asyncio.sleep(self._proxy.delay)
            if self._proxy.is_black_hole:
                continue
            writer.write(self._share(data))
            await writer.drain()
        if not self._proxy.is_black_hole:
            writer.close()

    def _share(self, data: bytes) -> bytes:
        """What may pass; the connection is cut where it ends."""
        limit = self._proxy.cut_after
        if limit is None:
            return data
        share = data[: max(0, limit - self._passed)]
        self._passed += len(share)
        if len(share) < len(data):
            asyncio.get_running_loop().call_soon(self.reset)
        return share

    def reset(self) -> None:
        for writer in self._writers:
            _reset(writer.transport)


def _reset(transport: Any) -> None:
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, WITH_RESET)
    transport.abort()
