"""S3 servers on loopback: a real one that checks signatures, and some that misbehave."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from support.optional_programs import require_program

KEY, SECRET = "AKIDGATEWAYTEST", "a-secret-that-opens-the-bucket"
BUCKET = "media-cache"
STARTED = re.compile(r"Starting s3 server on \[(http://[\d.:]+)")

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Mood = Callable[[Writer], Awaitable[None]]


def forget_aws(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Nothing of the developer's own AWS configuration, nor a proxy, may leak into a test."""
    for name in os.environ:
        if name.startswith(("AWS_", "BOTO")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "no-credentials"))
    monkeypatch.setenv("BOTO_CONFIG", str(folder / "no-boto"))


def show_key(monkeypatch: pytest.MonkeyPatch, secret: str = SECRET) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


@contextmanager
def real_s3(folder: Path, port: int = 0) -> Iterator[str]:
    """A real S3 server that knows one key; gives its URL. Each folder is a bucket."""
    folder.joinpath(BUCKET).mkdir(parents=True, exist_ok=True)
    command = [
        require_program("rclone"), "serve", "s3", "--config=", f"--auth-key={KEY},{SECRET}",
        f"--addr=127.0.0.1:{port}", folder,
    ]  # fmt: skip
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={"HOME": str(folder)}
    ) as server:
        try:
            yield _url(server)
        finally:
            server.terminate()


def _url(server: subprocess.Popen[str]) -> str:
    said = []
    assert server.stderr is not None
    for line in server.stderr:
        said.append(line)
        if found := STARTED.search(line):
            return found[1]
    raise AssertionError("".join(said))


class MoodyServer:
    """An HTTP server that answers each request as its mood is. It keeps what it was sent."""

    def __init__(self, mood: Mood) -> None:
        self.mood = mood
        self.requests: list[bytes] = []
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                await self.mood(writer)
                await writer.drain()
        writer.close()
        self._tasks.discard(task)

    def hang_up(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()


@asynccontextmanager
async def moody_server(mood: Mood) -> AsyncIterator[MoodyServer]:
    moody = MoodyServer(mood)
    server = await asyncio.start_server(moody.take, "127.0.0.1", 0)
    moody.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield moody
    finally:
        moody.hang_up()
        server.close()
        await server.wait_closed()


def answer(status: str, *headers: str) -> Mood:
    lines = [f"HTTP/1.1 {status}", "Content-Length: 0", *headers]

    async def mood(writer: Writer) -> None:
        writer.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    return mood


async def hang(_writer: Writer) -> None:
    await asyncio.sleep(3600)


async def drip(writer: Writer) -> None:
    """A byte a second: each comes in time, the whole never does."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Padding: " + b"a" * 3600:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(1)


async def hang_up(writer: Writer) -> None:
    writer.close()


async def reset(writer: Writer) -> None:
    """Break the connection off in the middle of the answer."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()
    writer.transport.abort()


async def garbage(writer: Writer) -> None:
    writer.write(b"\x00\xff\x16\x03SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def endless_headers(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n" + b"X-Padding: a\r\n" * 100_000)


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
