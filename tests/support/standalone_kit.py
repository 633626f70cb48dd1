"""A standalone gateway as a process, in a folder of its own."""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.client import GatewayClient, JobView
from gateway.settings import DEMO_KEY
from gateway.standalone.postgres.account import Account
from gateway.standalone.postgres.shutdown import find_servers
from support.optional_programs import leave_out
from support.processes import Command, environment, running_command
from support.worker_kit import write_tree

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
MIB = 1024 * 1024


@dataclass(frozen=True)
class Place:
    """A folder for a standalone gateway, and who runs it."""

    folder: Path
    user: int | None = None
    python: str = sys.executable

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def media(self) -> Path:
        return self.folder / "media"

    def has_postgres(self) -> bool:
        return bool(find_servers(self.data / "postgres"))

    @asynccontextmanager
    async def running(self, **env: str) -> AsyncIterator[Command]:
        env = environment(
            HOME=str(self.folder), RATE_LIMIT_PER_MINUTE="0", POLL_LIMIT_PER_MINUTE="0", **env
        )
        async with running_command(
            *("standalone", "--media", self.media, "--data-dir", self.data, "--port", "0"),
            env=env,
            cwd=self.folder,
            user=self.user,
            python=self.python,
        ) as command:
            yield command


@pytest.fixture(params=["as ourselves", pytest.param("as somebody else", marks=AS_ROOT)])
def anybodys_place(request: pytest.FixtureRequest, public_folder: Path) -> Place:
    if request.param == "as ourselves":
        return _furnish(Place(public_folder))
    nobody = pwd.getpwnam("nobody")
    python = _find_python(Account("nobody", nobody.pw_uid, nobody.pw_gid))
    os.chown(public_folder, nobody.pw_uid, nobody.pw_gid)
    return _furnish(Place(public_folder, nobody.pw_uid, python))


def _find_python(account: Account) -> str:
    """A Python that ``account`` may run the gateway with: ours, or the system's of our version."""
    path = f"PYTHONPATH={environment()['PYTHONPATH']}"
    version = ".".join(map(str, sys.version_info[:2]))
    for python in (sys.executable, f"/usr/bin/python{version}"):
        tried = account.run(
            ["/usr/bin/env", path, python, "-c", "import gateway.cli.commands.standalone"]
        )
        if tried.returncode == 0:
            return python
    return leave_out(f"{account.name} may run no Python {version} here")


@pytest.fixture
def place(public_folder: Path) -> Place:
    return _furnish(Place(public_folder))


def _furnish(place: Place) -> Place:
    write_tree(place.media, {"a/one.mov": 3 * MIB, "a/b/two.exr": 4, "c/three.exr": 5})
    return place


async def url_of(command: Command) -> str:
    return (await command.says("listening on")).split()[-1]


@asynccontextmanager
async def client_of(command: Command) -> AsyncIterator[GatewayClient]:
    """A client, once the index is complete."""
    async with GatewayClient(await url_of(command), DEMO_KEY) as client:
        await command.says(" files, ")
        yield client


async def end_of(client: GatewayClient, job_id: str) -> JobView:
    async with asyncio.timeout(60):
        while not (job := await client.status(job_id)).has_ended:
            await asyncio.sleep(0.05)
    return job
