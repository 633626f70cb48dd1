"""``watch``: what is shown while a job runs, and how a script learns of its end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from gateway.cli.job_view import Lines, Rate, fitting, pace
from gateway.client import JobChange, JobView
from gateway.settings import Settings
from support.cli_kit import PROGRAM, User, ended, line_with
from support.client_server import Server
from support.index_rows import UNKNOWN_ID, add_item, change_job, make_job, run
from support.terminals import on_terminal

MIB = 1024 * 1024
DONE = {"completed_files": 1, "completed_size_bytes": 3 * MIB, "total_size_bytes": 3 * MIB}


@pytest.fixture
def user(server: Server, tmp_path: Path) -> User:
    return User(server.url, tmp_path)


ENDS = {
    "completed": ({"status": "completed", **DONE}, 0, ""),
    "failed": ({"status": "failed", "failed_files": 1, "error_message": "x: gone"}, 1, "x: gone\n"),
    "cancelled": ({"status": "cancelled"}, 3, "The job was cancelled after 0 of 1 file.\n"),
    "completed with failed files": (
        {"status": "completed", "total_files": 2, "failed_files": 1, "error_message": "x: gone"}
        | {"completed_files": 1},
        6,
        "x: gone\n",
    ),
}


@pytest.mark.parametrize(("columns", "code", "says"), ENDS.values(), ids=ENDS)
async def test_the_exit_code_says_how_the_job_ended(
    user: User, database_settings: Settings, columns: dict[str, object], code: int, says: str
) -> None:
    job_id = make_job(database_settings, **columns)
    done = await user.run("watch", job_id)
    assert (done.code, done.errors) == (code, says)
    assert done.output.startswith(f"{columns['status']} ")


async def test_without_a_terminal_each_change_is_a_line(
    user: User, database_settings: Settings
) -> None:
    job_id = make_job(database_settings, total_files=2, total_size_bytes=6 * MIB)
    process = await user.start("watch", job_id)
    assert await line_with(process, "pending") == "pending 0 %, 0 of 2 files, 0 B of 6.0 MB\n"
    change_job(database_settings, job_id, status="running")
    await line_with(process, "running 0 %")
    change_job(database_settings, job_id, status="completed", **DONE | {"completed_files": 2})
    done = await ended(process)
    assert done.code == 0
    assert done.output == "completed 100 %, 2 of 2 files, 3.0 MB of 3.0 MB\n"


async def test_files_that_ended_before_are_told_of_too_and_each_once(
    user: User, database_settings: Settings
) -> None:
    job_id = make_job(database_settings, total_files=3, completed_files=1, status="running")
    add_item(database_settings, job_id, "a.exr", status="completed", file_size_bytes=MIB)
    add_item(database_settings, job_id, "b.exr")
    add_item(database_settings, job_id, "c.exr")
    process = await user.start("watch", job_id, "--files")
    assert await line_with(process, "read") == "read    a.exr (1.0 MB)\n"
    await line_with(process, "running")
    run(
        database_settings,
        "UPDATE cache_job_items SET status = 'failed', error_message = 'gone'"
        " WHERE job_id = %s AND status = 'pending'",
        job_id,
    )
    change_job(
        database_settings, job_id, status="completed", failed_files=2, error_message="b: gone"
    )
    done = await ended(process)
    assert done.code == 6
    lines = done.output.splitlines()
    assert sorted(lines[:2]) == ["failed  b.exr: gone", "failed  c.exr: gone"]
    assert lines[2:] == ["completed 100 %, 1 of 3 files, 2 failed"]
    # Once it has ended, all that is there to tell is told.
    again = (await user.run("watch", job_id, "--files", "--json")).lines()
    assert [one["type"] for one in again] == ["file-completed", *["file-failed"] * 2, "snapshot"]
    assert [one["file"]["filePath"] for one in again[:3]] == ["a.exr", "b.exr", "c.exr"]


async def test_patience_below_nothing_is_wrong_usage(user: User) -> None:
    done = await user.run("watch", UNKNOWN_ID, "--patience", "-1")
    assert done.code == 2
    assert "--patience" in done.errors


async def test_with_json_each_change_is_a_document_on_a_line(
    user: User, database_settings: Settings
) -> None:
    job_id = make_job(database_settings)
    process = await user.start("watch", job_id, "--json")
    first = await line_with(process, "snapshot")
    change_job(database_settings, job_id, status="cancelled")
    done = await ended(process)
    assert done.code == 3
    assert f'"id": "{job_id}"' in first
    [last] = done.lines()
    assert (last["type"], last["job"]["status"], last["file"]) == (
        "job-cancelled", "cancelled", None,
    )  # fmt: skip


async def test_on_a_terminal_there_is_a_bar(
    user: User, database_settings: Settings, tmp_path: Path
) -> None:
    job_id = make_job(database_settings, total_files=9, total_size_bytes=6 * MIB)
    env = {**user.env, "TERM": "xterm", "COLUMNS": "80"}
    async with on_terminal("watch", job_id, cwd=tmp_path, env=env) as terminal:
        await terminal.shows("0 % 0/9 files 0 B/6.0 MB")
        change_job(database_settings, job_id, status="completed", **DONE | {"total_files": 1})
        assert await terminal.end() == 0
    assert "━" in terminal.text
    assert "100 % 1/1 file 3.0 MB/3.0 MB" in terminal.text


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_who_stops_watching_is_told_that_the_job_goes_on(
    user: User, database_settings: Settings, number: signal.Signals, code: int
) -> None:
    job_id = make_job(database_settings)
    process = await user.start("watch", job_id)
    await line_with(process, "pending")
    process.send_signal(number)
    done = await ended(process)
    assert done.code == code
    assert done.errors == f"The job goes on. To cancel it:\n  teamcache-gateway cancel {job_id}\n"


async def test_ctrl_c_on_a_terminal_says_the_same(
    user: User, database_settings: Settings, tmp_path: Path
) -> None:
    job_id = make_job(database_settings)
    async with on_terminal("watch", job_id, cwd=tmp_path, env=user.env) as terminal:
        await terminal.shows("0/1 file")
        terminal.process.send_signal(signal.SIGINT)
        assert await terminal.end() == 130
    assert f"teamcache-gateway cancel {job_id}" in terminal.text
    # The cursor is shown again.
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l")


async def test_a_gateway_that_goes_away_for_good_is_told(
    user: User,
    server: Server,
    database_settings: Settings,
) -> None:
    process = await user.start("watch", make_job(database_settings), "--patience", "0.1")
    await line_with(process, "pending")
    await server.stop()
    done = await ended(process)
    assert done.code == 4
    assert done.errors.startswith(
        "The connection is lost; trying again.\nError: No gateway answers"
    )


async def test_a_gateway_that_comes_back_is_watched_again(
    user: User,
    server: Server,
    database_settings: Settings,
) -> None:
    job_id = make_job(database_settings)
    process = await user.start("watch", job_id)
    await line_with(process, "pending")
    await server.stop()
    change_job(database_settings, job_id, status="completed", **DONE)
    await server.start()
    done = await ended(process)
    assert done.code == 0
    assert done.errors == "The connection is lost; trying again.\n"
    assert done.output.startswith("completed 100 %")


async def test_a_job_that_there_is_not_is_refused_at_once(user: User) -> None:
    for job_id in (UNKNOWN_ID, "no id", "../x", "?limit=1", "a/b", "%00", b"\xff", "\x1b"):
        done = await user.run("watch", job_id)
        assert (done.code, done.output) == (5, "")
        assert done.errors.startswith("Error: ")


async def test_who_listens_no_more_is_not_complained_about(
    user: User, database_settings: Settings
) -> None:
    job_id = make_job(database_settings, status="completed", **DONE)
    for arguments in (("watch", job_id), ("jobs",), ("job", job_id, "--json"), ("health",)):
        reading, writing = os.pipe()
        os.close(reading)
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, *arguments, env=user.env, stdout=writing, stderr=asyncio.subprocess.PIPE
        )
        os.close(writing)
        _, errors = await process.communicate()
        assert (errors, process.returncode) == (b"", 141), arguments


def job(completed_bytes: int = 0, status: str = "running") -> JobChange:
    return JobChange("x", JobView("1", status, 9, 1, 0, 100 * MIB, completed_bytes, 5, None))


def test_lines_come_about_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Lines(lambda: now[0])
    for step in range(30):
        now[0] = step / 10
        lines.show(job(step * MIB))
    lines.show(job(60 * MIB, "paused"))
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in shown] == ["running 5 %"] * 3 + ["paused 5 %"]
    assert shown[1] == "running 5 %, 1 of 9 files, 10.0 MB of 100.0 MB, 10.0 MB/s, 9 s left"


def test_an_end_more_than_a_year_away_is_not_shown() -> None:
    view = job().job
    assert pace(view, 4.0) == ("4 B/s", "303 d left")
    assert pace(view, 1.0) == ("1 B/s", "")
    assert pace(view, 1e-300) == ("0 B/s", "")


def test_the_rate_is_that_of_the_last_seconds() -> None:
    now = [0.0]
    rate = Rate(lambda: now[0])
    assert rate.per_second is None
    for second in range(100):
        now[0] = float(second)
        rate.add(second * second)
    assert rate.per_second == pytest.approx(188)
    rate.add(5)
    assert rate.per_second is None


def test_what_does_not_fit_a_narrow_terminal_is_left_out() -> None:
    figures = {
        "percent": " 45 %",
        "files": "1/2 files",
        "size": "",
        "speed": "1 B/s",
        "left": "9 s",
    }
    shown = [fitting(figures, room) for room in (80, 20, 16, 9, 0)]
    assert shown == [" 45 % 1/2 files 1 B/s 9 s", " 45 % 1/2 files 9 s", " 45 % 1/2 files",
                     " 45 %", " 45 %"]  # fmt: skip
