"""``standalone`` as a process: one command for everything, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import random
import signal

import pytest

from gateway.standalone.postgres.shutdown import find_servers
from support.processes import environment, run_command
from support.standalone_kit import Place, client_of, end_of, url_of
from support.worker_kit import write_tree

MIB = 1024 * 1024


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
    # Nobody is through with this one before the gateway is killed; then it shrinks.
    write_tree(place.media, {"many/huge": 1 << 40})
    moment = random.Random(seed).randrange(1, 2500)
    async with place.running(CACHE_PROGRESS_TIME_THRESHOLD="100") as first:
        async with client_of(first) as client:
            job_id = (await client.submit(directories=["many"])).id
            while (job := await client.status(job_id)).completed_files < moment:
                assert not job.has_ended
                await asyncio.sleep(0.005)
            assert not (await client.status(job_id)).has_ended
        first.send(signal.SIGKILL)
        await first.end()
    os.truncate(place.media / "many/huge", 10)
    async with place.running() as second:
        async with client_of(second) as client:
            ended = await end_of(client, job_id)
        assert (ended.status, ended.completed_files, ended.failed_files) == ("completed", 3001, 0)
        assert ended.completed_bytes == (1 << 40) + 30000, "a file that shrank counts as planned"
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
