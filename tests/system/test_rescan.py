"""``index --data-dir``: the index of a running standalone gateway, brought up to date by hand."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from support.processes import environment, run_command
from support.standalone_kit import Place, client_of
from support.worker_kit import write_tree


async def test_a_rescan_by_hand_finds_the_running_gateways_index(place: Place) -> None:
    async with place.running() as standalone:
        async with client_of(standalone) as client:
            write_tree(place.media, {"new/one.mov": 7})
            code, output, lines = await run_command(
                *("index", place.media, "--data-dir", place.data),
                env=environment(),
                cwd=place.folder,
            )
            assert code == 0, lines
            assert "2 added, 1 changed, 0 removed" in output
            job = await client.submit(directories=["new"])
            assert (job.total_files, job.total_bytes) == (1, 7)
        assert await standalone.stop() == 0


async def test_a_refused_scan_names_the_command_that_removes_the_rows(place: Place) -> None:
    async with place.running(INDEX_INTERVAL="0.2") as standalone:
        async with client_of(standalone) as client:
            shutil.rmtree(place.media)
            place.media.mkdir()
            told = await standalone.says("--allow-empty: ")
            index = (await client.health())["index"]
            assert (index["status"], index["entries"]) == ("refused", 7)
            assert "would vanish" in index["error"]
            assert "T" in index["lastScan"]
            command = shlex.split(told.partition("--allow-empty: teamcache-gateway ")[2])
            assert command == [
                *("index", str(place.media), "--data-dir", str(place.data), "--allow-empty")
            ]
            code, output, _ = await run_command(*command, env=environment(), cwd=place.folder)
            assert code == 0
            assert "6 removed" in output
        assert await standalone.stop() == 0


async def test_where_nothing_runs_a_rescan_says_so(public_folder: Path) -> None:
    data = public_folder / "data"
    for prepare in (_leave_nothing, _leave_a_folder, _leave_a_pid_file):
        prepare(data)
        code, _, lines = await run_command(
            "index", public_folder, "--data-dir", data, env=environment(), cwd=public_folder
        )
        assert (code, [line for line in lines if line]) == (
            1,
            [f"Error: No gateway runs with the data folder {data}: start it with standalone first"],
        )


def _leave_nothing(_data: Path) -> None:
    pass


def _leave_a_folder(data: Path) -> None:
    (data / "postgres").mkdir(parents=True)


def _leave_a_pid_file(data: Path) -> None:
    """What a gateway that was killed with its machine leaves behind, its pid another's by now."""
    lines = ["1", str(data / "postgres"), "0", "5432", str(data / "socket"), "", "0 0", "ready   "]
    (data / "postgres" / "postmaster.pid").write_text("\n".join([*lines, ""]))
