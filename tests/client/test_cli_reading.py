"""``jobs``, ``job``, ``cancel`` and ``health``: what is shown, for people and for programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import Settings
from support.cli_kit import Answering, User
from support.client_server import Server
from support.index_rows import UNKNOWN_ID, make_job, run
from support.terminals import on_terminal

GIB = 1024**3
JOB = f"GET /api/v1/cache/jobs/{UNKNOWN_ID}"
LIST = "GET /api/v1/cache/jobs"


@pytest.fixture
def user(server: Server, tmp_path: Path) -> User:
    return User(server.url, tmp_path)


@pytest.fixture
async def answering(aiohttp_server: Any, tmp_path: Path) -> tuple[Answering, User]:
    answers = Answering(aiohttp_server)
    return answers, User(await answers.start(), tmp_path)


async def test_jobs_are_listed_newest_first(user: User, database_settings: Settings) -> None:
    assert (await user.run("jobs")).errors == "There are no jobs.\n"
    old = make_job(
        database_settings, status="running", total_files=1200, completed_files=300,
        total_size_bytes=4 * GIB, completed_size_bytes=GIB,
    )  # fmt: skip
    run(database_settings, "UPDATE cache_jobs SET created_at = created_at - interval '5 hours'")
    new = make_job(database_settings)
    done = await user.run("jobs")
    assert done.code == 0
    head, first, second = done.output.splitlines()
    assert head.split()[:6] == ["JOB", "STATE", "FILES", "DONE", "BYTES", "AGE"]
    assert first.split()[:3] == [new, "pending", "0/1"]
    assert second.split()[:9] == [old, "running", "300/1,200", "25", "%", "4.0", "GB", "5", "h"]
    shown = (await user.run("jobs", "--json")).json()
    assert shown["total"] == 2
    assert [job["id"] for job in shown["jobs"]] == [new, old]
    assert shown["jobs"][1]["completedSizeBytes"] == GIB
    only = await user.run("jobs", "--status", "running", "--json")
    assert [job["id"] for job in only.json()["jobs"]] == [old]


async def test_many_jobs_are_listed_page_by_page(user: User, database_settings: Settings) -> None:
    run(
        database_settings,
        "INSERT INTO cache_jobs (id, file_paths, total_files)"
        " SELECT gen_random_uuid(), '{/x}', 1 FROM generate_series(1, 230)",
    )
    for options, count in (((), 20), (("--limit", "150"), 150), (("--all",), 230)):
        done = await user.run("jobs", *options)
        assert len(done.output.splitlines()) == count + 1
        told = f"{count} of 230; more with --limit or --all.\n" if count < 230 else ""
        assert done.errors == told
    shown = (await user.run("jobs", "--json", "--limit", "9999")).json()
    assert len({job["id"] for job in shown["jobs"]}) == 230


async def test_a_list_fits_a_terminal_and_identifiers_are_whole(
    user: User, database_settings: Settings, tmp_path: Path
) -> None:
    job_id = make_job(database_settings, status="completed", completed_files=1)
    env = {**user.env, "COLUMNS": "80", "TERM": "xterm"}
    async with on_terminal("jobs", cwd=tmp_path, env=env) as terminal:
        assert await terminal.end() == 0
    assert job_id in terminal.text
    assert "completed" in terminal.text


@pytest.mark.parametrize(
    ("columns", "head"),
    [(100, "JOB STATE FILES DONE BYTES AGE BY"), (60, "JOB STATE FILES"), (36, "JOB"), (20, "JOB")],
)
async def test_a_narrow_terminal_is_shown_fewer_columns_and_those_whole(
    answering: tuple[Answering, User], tmp_path: Path, columns: int, head: str
) -> None:
    answers, user = answering[0].answers, answering[1]
    job = brief_job() | {"failedFiles": 1, "submittedBy": "the whole render farm of the east"}
    answers[LIST] = (200, {"success": True, "jobs": [job], "total": 1})
    env = {**user.env, "COLUMNS": str(columns), "TERM": "xterm"}
    async with on_terminal("jobs", cwd=tmp_path, env=env) as terminal:
        assert await terminal.end() == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal.text)
    first, *lines = text.splitlines()
    assert first.split() == head.split()
    assert "".join(lines).startswith(UNKNOWN_ID)
    assert ("0/3, 1 failed" in text) == (columns >= 60)


async def test_a_name_that_all_jobs_have_for_want_of_others_is_not_shown(
    answering: tuple[Answering, User],
) -> None:
    answers, user = answering[0].answers, answering[1]
    jobs = [brief_job() | {"submittedBy": "default"}, brief_job() | {"id": "2"}]
    answers[LIST] = (200, {"success": True, "jobs": jobs, "total": 2})
    assert (await user.run("jobs")).output.splitlines()[0].endswith(" AGE")


async def test_a_rate_is_written_in_the_unit_that_suits_it(
    answering: tuple[Answering, User],
) -> None:
    answers, user = answering[0].answers, answering[1]
    job = full_job() | {"throughput": {"mbps": 10912.3}}
    answers[JOB] = (200, {"success": True, "job": job})
    assert "\nThroughput  10.66 GB/s\n" in (await user.run("job", UNKNOWN_ID)).output


async def test_who_submitted_a_job_is_shown_where_it_is_known(
    answering: tuple[Answering, User],
) -> None:
    answers, user = answering[0].answers, answering[1]
    job = brief_job() | {"submittedBy": "farm \x1b[31m[bold]"}
    answers[LIST] = (200, {"success": True, "jobs": [job, brief_job() | {"id": "2"}], "total": 2})
    done = await user.run("jobs")
    head, first, second = done.output.splitlines()
    assert head.endswith(" BY")
    assert first.endswith("farm \\x1b[31m[bold]")
    assert second.endswith("d")
    answers[JOB] = (200, {"success": True, "job": full_job() | {"submittedBy": "farm"}})
    assert "\nBy       farm\n" in (await user.run("job", UNKNOWN_ID)).output


async def test_a_job_is_shown_in_words_and_as_json(user: User, database_settings: Settings) -> None:
    job_id = make_job(
        database_settings, status="failed", failed_files=1, error_message="x\x1b[1m: gone",
        total_size_bytes=3 * GIB,
    )  # fmt: skip
    done = await user.run("job", job_id)
    assert done.code == 0
    rows = dict(line.split(maxsplit=1) for line in done.output.splitlines())
    assert rows["State"] == "failed"
    assert rows["Files"] == "0 of 1 file, 1 failed"
    assert rows["Done"] == "100 % (mean of files 100 %, bytes 100 %)"
    assert rows["Bytes"] == "0 B of 3.0 GB"
    assert rows["Error"] == "x\\x1b[1m: gone"
    shown = (await user.run("job", job_id, "--json")).json()
    assert (shown["id"], shown["status"], shown["failedFiles"]) == (job_id, "failed", 1)
    assert (await user.run("job", UNKNOWN_ID)).code == 5


async def test_the_files_of_a_job_are_listed(answering: tuple[Answering, User]) -> None:
    answers, user = answering[0].answers, answering[1]
    answers[JOB] = (200, {"success": True, "job": full_job()})
    files = [
        job_file("a/1.exr", "completed", 5, seconds=0.4),
        job_file("a/2.exr", "running", 2 * GIB, seconds=130.0) | {"bytesRead": GIB},
        job_file("a/\n3.exr", "failed", 0) | {"error": "gone"},
        job_file("a/4.exr ", "cancelled", 2 * GIB, seconds=25.0) | {"bytesRead": GIB},
    ]
    answers[f"{JOB}/files"] = (
        200, {"success": True, "jobId": UNKNOWN_ID, "files": files, "total": 4},
    )  # fmt: skip
    done = await user.run("job", UNKNOWN_ID, "--files")
    assert done.output.splitlines() == [
        "completed  a/1.exr (5 B in 0 s)",
        "running    a/2.exr (1.0 GB of 2.0 GB in 2 min)",
        "failed     a/\\n3.exr (0 B): gone",
        "cancelled  'a/4.exr ' (1.0 GB of 2.0 GB read in 25 s)",
    ]
    shown = (await user.run("job", UNKNOWN_ID, "--files", "--json")).json()
    assert [file["bytesRead"] for file in shown["files"]] == [5, GIB, 0, GIB]
    assert [file["sizeBytes"] for file in shown["files"]] == [5, 2 * GIB, 0, 2 * GIB]
    assert (await user.run("job", UNKNOWN_ID, "--files", "--limit", "2", "--json")).code == 0


async def test_an_older_gateway_does_not_list_files_and_that_is_said(
    answering: tuple[Answering, User],
) -> None:
    answers, user = answering[0].answers, answering[1]
    answers[JOB] = (200, {"success": True, "job": full_job()})
    done = await user.run("job", UNKNOWN_ID, "--files")
    assert (done.code, done.output) == (5, "")
    assert "does not list the files of a job: it is older" in done.errors


async def test_the_beginning_of_an_id_is_enough(user: User, database_settings: Settings) -> None:
    job_id = make_job(database_settings)
    assert job_id in (await user.run("job", job_id[:8])).output
    assert (await user.run("cancel", job_id[:13].upper())).output == f"Job {job_id} is cancelled.\n"
    assert (await user.run("watch", job_id[:35])).code == 3
    other = "0" if job_id[0] != "0" else "1"
    done = await user.run("job", other + job_id[1:8])
    assert (done.code, done.output) == (5, "")
    assert "of an older one the whole id is needed" in done.errors


async def test_the_beginning_of_several_ids_is_refused_with_what_they_are(
    answering: tuple[Answering, User],
) -> None:
    answers, user = answering[0].answers, answering[1]
    ids = [f"{UNKNOWN_ID[:-1]}{n}" for n in "ab"]
    answers[LIST] = (200, {"jobs": [brief_job() | {"id": one} for one in ids], "total": 2})
    done = await user.run("cancel", UNKNOWN_ID[:8])
    assert done.code == 5
    assert all(one in done.errors for one in ids)


async def test_cancelling_says_so_once(user: User, database_settings: Settings) -> None:
    job_id = make_job(database_settings)
    done = await user.run("cancel", job_id)
    assert (done.code, done.output) == (0, f"Job {job_id} is cancelled.\n")
    assert (await user.run("cancel", job_id)).code == 5


async def test_health_is_told_in_words(user: User) -> None:
    done = await user.run("health", TEAMCACHE_API_KEY="a wrong one, which does not matter here")
    assert done.code == 0
    rows = dict(line.split(maxsplit=1) for line in done.output.splitlines())
    assert rows == {
        "Gateway": user.url, "Health": "healthy", "Database": "connected",
        "Index": "not kept by this gateway", "S3": "not checked",
        "Throughput": "not measured yet",
    }  # fmt: skip
    shown = (await user.run("health", "--json")).json()
    assert (shown["healthy"], shown["database"]) == (True, "connected")


async def test_health_tells_of_the_index_of_s3_and_of_the_throughput(
    answering: tuple[Answering, User],
) -> None:
    answers, user = answering[0].answers, answering[1]
    index = {"status": "refused", "error": "it is empty", "entries": 1200, "lastScan": "once"}
    answers["GET /api/v1/health"] = (
        200, {"success": True, "status": "healthy", "database": "connected", "index": index},
    )  # fmt: skip
    s3 = {"isHealthy": True, "latency": 12, "averageLatency": 14}
    lucid = {"throughputMbps": 25.5, "timestamp": "2026-11-24T10:00:00.000Z"}
    answers["GET /api/v1/metrics"] = (200, {"metrics": {"s3Health": s3, "lucidLink": lucid}})
    output = (await user.run("health")).output
    assert "Index       refused: it is empty, 1,200 entries\n" in output
    assert "S3          healthy, 12 ms (on average 14 ms)\n" in output
    assert "Throughput  25.5 MB/s\n" in output
    s3 |= {"isHealthy": False, "error": "S3 cannot be reached"}
    assert "S3          not healthy: S3 cannot be reached\n" in (await user.run("health")).output


async def test_a_gateway_that_is_not_well_is_not_reachable(
    answering: tuple[Answering, User],
) -> None:
    answers, user = answering[0].answers, answering[1]
    answers["GET /api/v1/health"] = (
        503, {"success": False, "error": "Database unavailable", "status": "unhealthy"},
    )  # fmt: skip
    done = await user.run("health", "--json")
    assert done.code == 4
    assert done.json() == {"healthy": False, "error": "Database unavailable"}
    assert "cannot do its work now: Database unavailable" in done.errors


@pytest.mark.parametrize(
    "arguments",
    [("jobs", "--status", "done"), ("jobs", "--limit", "0"), ("job",), ("watch",), ("cancel",)],
)
async def test_a_wrong_option_is_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = await User("http://127.0.0.1:1", tmp_path).run(*arguments)
    assert (done.code, done.output) == (2, "")


def brief_job() -> dict[str, Any]:
    return {
        "id": UNKNOWN_ID, "status": "pending", "totalFiles": 3, "totalSizeBytes": 0,
        "completedFiles": 0, "failedFiles": 0, "completedSizeBytes": 0, "percentage": 0,
        "createdAt": "2020-01-01T00:00:00.000Z", "startedAt": None, "completedAt": None,
        "error": None,
    }  # fmt: skip


def full_job() -> dict[str, Any]:
    size = {"completedBytes": 0, "totalBytes": 0}
    files = {"completed": 0, "failed": 0, "total": 3}
    progress = {"files": files, "size": size, "percentage": 0}
    return brief_job() | {"progress": progress, "throughput": None, "eta": None}


def job_file(path: str, status: str, size: int, seconds: float | None = None) -> dict[str, Any]:
    return {
        "path": path, "status": status, "sizeBytes": size, "sizeReadable": "", "bytesRead": size,
        "seconds": seconds, "startedAt": None, "completedAt": None, "error": None,
    }  # fmt: skip
