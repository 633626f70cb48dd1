"""``standalone`` while it starts: its port is open, whatever PostgreSQL takes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.processes import environment, run_command
from support.standalone_kit import Place, client_of, url_of

CONF = "postgres/postgresql.conf"


class SlowStart:
    """Holds PostgreSQL up while it starts: it reads a part of its configuration from a pipe."""

    def __init__(self, data: Path) -> None:
        self._pipe = data / "postgres" / "slow.conf"
        os.mkfifo(self._pipe)
        self._pipe.chmod(0o644)
        with (data / CONF).open("a") as conf:
            conf.write("include = 'slow.conf'\n")

    async def reader_waits(self) -> int:
        """Wait until PostgreSQL has come to the pipe; gives the pipe's other end."""
        async with asyncio.timeout(60):
            while True:
                try:
                    return os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
                except OSError:  # nobody reads yet
                    await asyncio.sleep(0.02)

    def let_go(self, end: int) -> None:
        # It is read twice; the second time it is a file.
        empty = self._pipe.with_name("empty.conf")
        empty.touch()
        empty.chmod(0o644)
        empty.replace(self._pipe)
        os.close(end)


@pytest.fixture
async def used_place(place: Place) -> Place:
    """A place whose PostgreSQL has run before."""
    async with place.running() as standalone:
        await standalone.says("ready: ")
        assert await standalone.stop() == 0
    return place


async def get(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.json()


async def test_it_answers_while_postgres_starts_and_is_healthy_afterwards(
    used_place: Place,
) -> None:
    slow = SlowStart(used_place.data)
    async with used_place.running() as standalone:
        url = await url_of(standalone)
        end = await slow.reader_waits()
        assert await get(f"{url}/livez") == (200, {"success": True, "status": "alive"})
        status, health = await get(f"{url}/api/v1/health")
        assert (status, health["status"], health["database"]) == (503, "starting", "disconnected")
        assert health["error"] == "PostgreSQL is starting"
        slow.let_go(end)
        async with client_of(standalone) as client:
            assert (await client.health())["status"] == "healthy"
            assert (await client.submit(directories=["a"])).total_files == 2
        assert await standalone.stop() == 0
    assert not [line for line in standalone.lines if "Waiting for the database" in line]


async def test_a_stop_while_postgres_starts_ends_quickly_and_leaves_nothing(
    used_place: Place,
) -> None:
    slow = SlowStart(used_place.data)
    async with used_place.running() as standalone:
        end = await slow.reader_waits()
        standalone.send(signal.SIGTERM)
        await standalone.says("stopping")
        # So early it hears no signal.
        slow.let_go(end)
        assert await standalone.end(30) == 0
    assert not used_place.has_postgres()


async def test_a_postgres_that_cannot_start_ends_it_with_its_sentence(used_place: Place) -> None:
    with (used_place.data / CONF).open("a") as conf:
        conf.write("no_such_setting = 1\n")
    async with used_place.running() as standalone:
        assert await standalone.end() == 1
    assert standalone.lines[-1].startswith("Error: PostgreSQL ended while it started: ")
    assert "postgresql.conf" in standalone.lines[-1]
    assert "Traceback" not in "\n".join(standalone.lines)


async def test_the_start_says_what_runs_for_what_and_where(place: Place) -> None:
    async with place.running() as standalone:
        line = await standalone.says("listening on")
        assert f"for {place.media}, listening on http://127.0.0.1:" in line
        assert "TeamCache gateway " in line
        assert await standalone.stop() == 0


async def test_the_port_goes_by_the_settings_name_too(place: Place) -> None:
    async with place.running() as standalone:
        port = (await url_of(standalone)).rpartition(":")[2]
        other = place.folder / "other"
        code, _, lines = await run_command(
            *("standalone", "--media", place.media, "--data-dir", other),
            *("--api-gateway-port", port),
            env=environment(),
            cwd=place.folder,
        )
        assert (code, lines[-1]) == (
            1,
            f"Error: Cannot listen on 127.0.0.1:{port}: Address already in use",
        )


@pytest.mark.parametrize(("media", "data"), [("m", "m/data"), ("d/media", "d"), ("m", "m/../m")])
async def test_media_and_data_must_lie_apart(public_folder: Path, media: str, data: str) -> None:
    (public_folder / media).mkdir(parents=True)
    code, _, lines = await run_command(
        *("standalone", "--media", media, "--data-dir", data, "--port", "0"),
        env=environment(),
        cwd=public_folder,
    )
    assert code == 2
    assert lines[-1].startswith(f"Error: The data folder {data} and the media folder ")
    assert "must not lie in each other" in lines[-1]
    assert not list(public_folder.rglob("postgres"))
