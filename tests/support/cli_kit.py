"""The commands that use a gateway, run as a user runs them; and gateways that answer as told."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from click.testing import CliRunner

from gateway.cli import cli
from support.client_server import KEY
from support.processes import PATIENCE, environment

PROGRAM = (sys.executable, "-m", "gateway")


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    output: str
    errors: str

    def json(self) -> Any:
        """What standard output holds, which must be one document."""
        [line] = self.output.splitlines()
        return json.loads(line)

    def lines(self) -> Sequence[Any]:
        return [json.loads(line) for line in self.output.splitlines()]


@dataclass
class User:
    """Somebody with a home and an environment, at a gateway's URL."""

    url: str
    home: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> Mapping[str, str]:
        own = {"TEAMCACHE_URL": self.url, "TEAMCACHE_API_KEY": KEY, "HOME": str(self.home)}
        return environment(**(own | self.more))

    async def start(self, *arguments: str | bytes) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *PROGRAM, *arguments, env=self.env, cwd=self.home, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run(self, *arguments: str | bytes, told: bytes = b"", **env: str) -> Ended:
        """Run a command to its end, ``told`` being its standard input.

        Beside the test, in a thread: a process of its own takes most of a second to begin.
        """
        return await asyncio.to_thread(
            invoke, list(map(os.fsdecode, arguments)), told, {**self.env, **self.more, **env}
        )


def invoke(arguments: Sequence[str], told: bytes, env: Mapping[str, str]) -> Ended:
    others = dict.fromkeys(("API_GATEWAY_KEY", "XDG_CONFIG_HOME"))
    done = CliRunner().invoke(
        cli, arguments, told, {**others, **env}, prog_name="teamcache-gateway"
    )
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ended(done.exit_code, done.stdout, done.stderr)


async def ended(process: asyncio.subprocess.Process, told: bytes = b"") -> Ended:
    """Wait for the end of a command; whatever goes wrong, nobody is shown a traceback."""
    async with asyncio.timeout(PATIENCE):
        output, errors = await process.communicate(told)
    assert process.returncode is not None
    assert b"Traceback" not in errors, errors.decode()
    return Ended(process.returncode, output.decode(), errors.decode())


async def line_with(process: asyncio.subprocess.Process, text: str) -> str:
    """Wait for a line on standard output."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        async for line in process.stdout:
            if text in line.decode():
                return line.decode()
    raise AssertionError(f"{text!r} was never printed")


class Answering:
    """A server that answers each request as it is told to, and remembers the bodies."""

    def __init__(self, aiohttp_server: Any) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.got: list[tuple[str, Any]] = []
        self.silent = ""
        self.asked = asyncio.Event()
        self._make = aiohttp_server

    async def start(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        return str((await self._make(app)).make_url("/"))

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.got.append((f"{request.method} {request.path}", body))
        if f"{request.method} {request.path}" == self.silent:
            self.asked.set()
            await asyncio.sleep(PATIENCE)
        status, answer = self.answers.get(
            f"{request.method} {request.path}", (404, {"success": False, "error": "Not found"})
        )
        if callable(answer):
            status, answer = answer(body)
        if isinstance(answer, str):
            return web.Response(text=answer, status=status, content_type="text/html")
        return web.json_response(answer, status=status)


def write_client_file(home: Path, text: str) -> Path:
    file = home / ".config" / "teamcache-gateway" / "client.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(os.fsencode(text))
    return file
