"""Several filespaces in one gateway, from what clients write to what a worker reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.client import GatewayClient, GatewayClientError
from support.processes import Command, environment, run_command, running_command
from support.standalone_kit import Place, client_of, end_of
from support.worker_kit import write_tree

LISTED = """
[[filespaces]]
name = "tc-east-1"
mount_point = "{folder}/east"
client_roots = ["/Volumes/dmpfs/tc-east-1", "L:"]

[[filespaces]]
name = "tc-west-1"
mount_point = "{folder}/west"
client_roots = ['C:\\dmpfs\\tc-west-1']
"""
NAMES = {"reel/one.mov": 1000, "reel/two.mov": 10, "shots/a/three.exr": 1, "shots/four.exr": 2}
# Of two filespaces with the same names, in every form in which a client may write them.
FILES = {
    "/Volumes/dmpfs/tc-east-1/reel/one.mov": "tc-east-1/reel/one.mov",
    "L:\\reel\\two.mov": "tc-east-1/reel/two.mov",
    "C:\\dmpfs\\tc-west-1\\reel\\one.mov": "tc-west-1/reel/one.mov",
    "tc-west-1/reel/two.mov": "tc-west-1/reel/two.mov",
}


@pytest.fixture
def listed(place: Place) -> Place:
    """A place whose settings list two filespaces."""
    for name in ("east", "west"):
        write_tree(place.folder / name, NAMES)
    (place.folder / "config.toml").write_text(LISTED.format(folder=place.folder))
    return place


def command_of(place: Place, *more: str | Path) -> tuple[str | Path, ...]:
    return "standalone", "--data-dir", place.data, "--port", "0", *more


@asynccontextmanager
async def running(place: Place) -> AsyncIterator[Command]:
    env = environment(HOME=str(place.folder), RATE_LIMIT_PER_MINUTE="0", POLL_LIMIT_PER_MINUTE="0")
    async with running_command(*command_of(place), env=env, cwd=place.folder) as command:
        yield command


async def wait_for_index(client: GatewayClient, wanted: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (index := (await client.health()).get("index", {})).get("status") != wanted:
            await asyncio.sleep(0.05)
    return dict(index)


async def read_files(client: GatewayClient, **wanted: list[str]) -> dict[str, int]:
    """Run a job; its files, as its events and its list name them, with their sizes."""
    job = await client.submit(**wanted)
    told: set[str] = set()
    async for change in client.watch(job.id, files=True):
        if change.file is not None:
            assert change.file.error is None
            told.add(change.file.path)
    assert (await end_of(client, job.id)).status == "completed"
    # A file that ended before the watching began is in the list alone.
    listed, _ = await client.files(job.id)
    seen = {file.path: file.size for file in listed}
    assert told <= set(seen)
    assert len(seen) == job.total_files
    return seen


async def test_a_job_of_two_filespaces_runs_from_submit_to_worker(listed: Place) -> None:
    async with running(listed) as standalone:
        line = await standalone.says("listening on")
        assert f"for {listed.folder}/east, {listed.folder}/west, listening on " in line
        async with client_of(standalone) as client:
            assert (await wait_for_index(client, "ready"))["entries"] == 2 * 8
            seen = await read_files(client, files=list(FILES))
            assert seen == {name: NAMES[name.partition("/")[2]] for name in FILES.values()}
            # What the events name can be pasted back.
            assert await read_files(client, files=list(seen)) == seen
            folders = ["tc-east-1/shots", "C:\\dmpfs\\tc-west-1\\shots"]
            shots = {name: size for name, size in NAMES.items() if name.startswith("shots")}
            assert await read_files(client, directories=folders) == {
                f"{filespace}/{name}": size
                for filespace in ("tc-east-1", "tc-west-1")
                for name, size in shots.items()
            }
            found = await client.resolve([*FILES, f"{listed.folder}/west"])
            assert [path.sendable for path in found] == [*FILES.values(), f"{listed.folder}/west"]
            assert (found[0].resolved, found[0].filespace) == ("reel/one.mov", "tc-east-1")
            # Nobody knows which of the two is meant.
            with pytest.raises(GatewayClientError) as refusal:
                await client.submit(files=["reel/one.mov"])
            assert refusal.value.status == 400
        assert await standalone.stop() == 0


async def test_a_filespace_that_is_away_is_named_and_the_other_works(listed: Place) -> None:
    west = listed.folder / "west"
    west.rename(listed.folder / "away")
    async with running(listed) as standalone:
        async with client_of(standalone) as client:
            index = await wait_for_index(client, "refused")
            assert (index["error"], index["entries"]) == (f"{west} does not exist", 8)
            assert len(await read_files(client, directories=["L:\\reel"])) == 2
            with pytest.raises(GatewayClientError, match=r"No files found: .* does not exist"):
                await client.submit(files=["tc-east-1/no.mov"])
            # What is away may only not be there yet; the mount comes back, and so does the index.
            job = await client.submit(files=["tc-west-1/reel/one.mov"])
            await standalone.says("is gone, waiting for it")
            (listed.folder / "away").rename(west)
            assert (await end_of(client, job.id)).completed_files == 1
            data = ("--data-dir", listed.data)
            code, output, _ = await run_command(
                "index", *data, env=environment(), cwd=listed.folder
            )
            assert code == 0
            for name in ("tc-east-1", "tc-west-1"):
                assert output.count(f"{name}: 4 files in 4 directories: ") == 1
            assert len(await read_files(client, directories=["tc-west-1/shots"])) == 2
        assert await standalone.stop() == 0


async def test_media_beside_listed_filespaces_is_a_usage_error(listed: Place) -> None:
    code, _, lines = await run_command(
        *command_of(listed, "--media", listed.media), env=environment(), cwd=listed.folder
    )
    assert code == 2
    assert "the settings list filespaces (tc-east-1, tc-west-1)" in lines[-1]


async def test_without_media_and_without_a_list_the_option_is_missed(place: Place) -> None:
    code, _, lines = await run_command(*command_of(place), env=environment(), cwd=place.folder)
    assert code == 2
    assert "Missing option '--media'" in lines[-1]


async def test_a_filespace_that_holds_the_data_folder_is_refused(listed: Place) -> None:
    listed_here = [{"name": "all", "mount_point": str(listed.folder)}]
    code, _, lines = await run_command(
        *command_of(listed), env=environment(FILESPACES=json.dumps(listed_here)), cwd=listed.folder
    )
    assert code == 2
    assert "must not lie in each other" in lines[-1]


async def test_an_index_by_hand_needs_a_folder_where_nothing_is_listed(place: Place) -> None:
    code, _, lines = await run_command(
        "index", "--data-dir", place.data, env=environment(), cwd=place.folder
    )
    assert (code, "Missing argument 'DIR'" in lines[-1]) == (2, True)
