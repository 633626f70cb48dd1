"""``standalone`` and ``demo`` as processes: one command for everything, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import pwd
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import Command, environment, run_command, running_command
from worker_kit import write_tree

from gateway.client import GatewayClient, JobView
from gateway.embedded_postgres.account import Account
from gateway.embedded_postgres.shutdown import find_servers
from gateway.settings import DEMO_KEY

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
        tried = account.run(["/usr/bin/env", path, python, "-c", "import gateway.cli.standalone"])
        if tried.returncode == 0:
            return python
    return pytest.skip(f"{account.name} may run no Python {version} here")


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


async def test_one_command_indexes_reads_and_answers(anybodys_place: Place) -> None:
    async with anybodys_place.running() as standalone:
        async with client_of(standalone) as client:
            job = await end_of(client, (await client.submit(directories=["a"])).id)
            assert (job.status, job.completed_files, job.percentage) == ("completed", 2, 100)
            assert job.completed_bytes == 3 * MIB + 4
            assert anybodys_place.has_postgres()
        assert await standalone.stop() == 0
    assert not anybodys_place.has_postgres()


async def test_what_is_in_the_database_survives_from_run_to_run(place: Place) -> None:
    async with place.running() as first:
        async with client_of(first) as client:
            job_id = (await client.submit(directories=["a"])).id
            before = await end_of(client, job_id)
        assert await first.stop() == 0
    async with place.running() as second:
        async with client_of(second) as client:
            assert await client.status(job_id) == before
        assert await second.stop() == 0


async def test_ctrl_c_stops_everything_in_order(place: Place) -> None:
    """A terminal sends SIGINT to the whole process group."""
    async with place.running() as standalone:
        await url_of(standalone)
        os.killpg(standalone.process.pid, signal.SIGINT)
        assert await standalone.end() == 0
    assert not place.has_postgres()


async def test_a_stop_while_it_reads_gives_the_files_back(place: Place) -> None:
    write_tree(place.media, {f"huge/{number}": 1 << 40 for number in range(3)})
    async with place.running(SHUTDOWN_TIMEOUT="2") as standalone:
        async with client_of(standalone) as client:
            job_id = (await client.submit(directories=["huge"])).id
            while not (await client.status(job_id)).completed_bytes:
                await asyncio.sleep(0.05)
        assert await standalone.stop(30) == 0
    assert not place.has_postgres()
    async with place.running() as again, client_of(again) as client:
        job = await client.status(job_id)
        assert (job.status, job.completed_files, job.completed_bytes > 0) == ("running", 0, True)
        await client.cancel(job_id)
        assert await again.stop() == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_gateway_that_was_killed_takes_its_job_up_again(place: Place, seed: int) -> None:
    write_tree(place.media, {f"many/{number}": 10 for number in range(3000)})
    moment = random.Random(seed).randrange(1, 2500)
    async with place.running(CACHE_PROGRESS_TIME_THRESHOLD="100") as first:
        async with client_of(first) as client:
            job_id = (await client.submit(directories=["many"])).id
            while (job := await client.status(job_id)).completed_files < moment:
                if job.has_ended:
                    break
                await asyncio.sleep(0.005)
        first.send(signal.SIGKILL)
        await first.end()
    async with place.running() as second:
        async with client_of(second) as client:
            ended = await end_of(client, job_id)
        assert ended.completed_files == 3000
        assert (ended.status, ended.failed_files, ended.completed_bytes) == ("completed", 0, 30000)
        assert await second.stop() == 0
    assert not place.has_postgres()


async def test_a_stop_while_it_starts_leaves_nothing_behind(place: Place) -> None:
    """The moments lie between the interpreter's start and the first answer."""
    for delay in (0.5, 0.8, 1.1, 1.5, 2.0):
        async with place.running() as standalone:
            await asyncio.sleep(delay)
            # Before Python is there to handle it, the signal itself ends the process.
            assert await standalone.stop(30) in (0, -signal.SIGTERM)
        assert not place.has_postgres()


async def test_a_second_gateway_on_the_same_data_says_why_it_ends(place: Place) -> None:
    async with place.running() as first:
        await url_of(first)
        async with place.running() as second:
            assert await second.end() == 1
        assert second.lines[-1] == (
            f"Error: The data folder {place.data} is in use by another gateway, "
            f"its process: {first.process.pid}"
        )
        assert await first.stop() == 0


async def test_a_port_in_use_ends_it_with_one_line_and_no_postgres(place: Place) -> None:
    async with place.running() as first:
        port = (await url_of(first)).rpartition(":")[2]
        code, _, lines = await run_command(
            *("standalone", "--media", place.media, "--data-dir", place.folder / "other"),
            *("--port", port),
            env=environment(),
            cwd=place.folder,
        )
        assert code == 1
        assert lines[-1] == f"Error: Cannot listen on 127.0.0.1:{port}: Address already in use"
        assert not find_servers(place.folder / "other" / "postgres")


async def test_postgres_that_dies_comes_back_by_itself(place: Place) -> None:
    async with place.running() as standalone:
        async with client_of(standalone) as client:
            [postmaster] = [
                int((place.data / "postgres/postmaster.pid").read_text().split("\n", 1)[0])
            ]
            os.kill(postmaster, signal.SIGKILL)
            async with asyncio.timeout(60):
                while True:
                    try:
                        job_id = (await client.submit(directories=["a"])).id
                        break
                    except Exception:
                        await asyncio.sleep(0.1)
            assert (await end_of(client, job_id)).status == "completed"
        assert await standalone.stop() == 0
    assert not place.has_postgres()


# demo


async def test_the_demo_shows_a_job_from_nothing_to_completed(public_folder: Path) -> None:
    arguments = ("demo", "--once", "--data-dir", public_folder / "demo")
    code, output, lines = await run_command(*arguments, env=environment(), cwd=public_folder)
    assert code == 0, lines
    assert "Completed: 252 of 252 files are in the cache." in output
    assert "curl http://127.0.0.1:" in output
    assert not find_servers(public_folder / "demo" / "data" / "postgres")


async def test_a_demo_whose_gateway_cannot_start_ends_with_its_reason(
    public_folder: Path,
) -> None:
    data = public_folder / "demo" / "data" / "postgres"
    data.mkdir(parents=True)
    (data / "not a cluster").touch()
    arguments = ("demo", "--once", "--data-dir", public_folder / "demo")
    code, _, lines = await run_command(*arguments, env=environment(), cwd=public_folder)
    assert code == 1
    assert "is not empty and no PostgreSQL cluster" in lines[-1]


async def test_a_demo_that_is_stopped_half_way_ends_its_gateway(public_folder: Path) -> None:
    arguments = ("demo", "--once", "--data-dir", public_folder / "demo")
    async with running_command(*arguments, env=environment(), cwd=public_folder) as demo:
        log = public_folder / "demo" / "gateway.log"
        async with asyncio.timeout(60):
            while not (log.exists() and "listening" in log.read_text()):
                await asyncio.sleep(0.05)
        demo.send(signal.SIGINT)
        code = await demo.end()
    assert code in (0, 1)
    assert not find_servers(public_folder / "demo" / "data" / "postgres")
