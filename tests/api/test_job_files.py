"""A job's files, one by one: what is shown of each state, pages, and totals."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest

from gateway.database.migrations import migrate
from gateway.settings import Settings
from support.database import StartApi, make_starter
from support.index_rows import MOUNT, UNKNOWN_ID, add_files, add_item, make_job, run
from support.manager_schema import make_manager_database
from support.worker_kit import GatedFiles, happens, open_bench

JOBS = "/api/v1/cache/jobs"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
STATUSES = ("pending", "running", "completed", "failed", "cancelled")
PENDING = {
    "status": "pending",
    "sizeBytes": 2048,
    "sizeReadable": "2.0 KB",
    "bytesRead": 0,
    "seconds": None,
    "startedAt": None,
    "completedAt": None,
    "error": None,
}


def add_items(settings: Settings, job_id: str, count: int, status: str = "pending") -> None:
    run(
        settings,
        "INSERT INTO cache_job_items (job_id, file_path, status)"
        " SELECT %s::uuid, concat_ws('/', %s, %s, n), %s FROM generate_series(1, %s) AS n",
        *(job_id, MOUNT, status, status, count),
    )


async def read(api: Any, job_id: str, **query: Any) -> dict[str, Any]:
    response = await api.get(f"{JOBS}/{job_id}/files", params=query)
    body: dict[str, Any] = await response.json()
    assert response.status == 200, body
    assert set(body) == {"success", "jobId", "files", "total"}
    assert (body["success"], body["jobId"]) == (True, job_id)
    return body


async def read_one(api: Any, job_id: str) -> dict[str, Any]:
    [file] = (await read(api, job_id))["files"]
    shown: dict[str, Any] = file
    return shown


async def test_the_files_of_a_new_job_are_pending(api: Any, database_settings: Settings) -> None:
    add_files(database_settings, {"a/1.mov": 2048, "a/b/2.mov": 2048})
    created = await (await api.post(JOBS, json={"directories": ["a"]})).json()
    body = await read(api, created["jobId"])
    assert body["files"] == [{"path": "a/1.mov", **PENDING}, {"path": "a/b/2.mov", **PENDING}]
    assert body["total"] == 2


async def test_a_completed_file_tells_how_long_it_was_read(
    api: Any, database_settings: Settings
) -> None:
    job_id = make_job(database_settings)
    add_item(
        database_settings,
        job_id,
        "a.mov",
        status="completed",
        file_size_bytes=2048,
        bytes_read=2048,
        started_at="2025-08-23 02:38:22.035",
        completed_at="2025-08-23 02:38:23.335",
    )
    assert await read_one(api, job_id) == {
        "path": "a.mov",
        **PENDING,
        "status": "completed",
        "bytesRead": 2048,
        "seconds": 1.3,
        "startedAt": "2025-08-23T02:38:22.035Z",
        "completedAt": "2025-08-23T02:38:23.335Z",
    }


async def test_a_failed_file_tells_why(api: Any, database_settings: Settings) -> None:
    job_id = make_job(database_settings)
    add_item(database_settings, job_id, "a", status="failed", error_message="Permission denied")
    add_item(database_settings, job_id, "b", status="failed")
    files = (await read(api, job_id))["files"]
    assert [file["error"] for file in files] == ["Permission denied", "Failed"]
    assert [file["bytesRead"] for file in files] == [0, 0]


async def test_a_running_file_tells_how_long_it_has_been_read(
    api: Any, database_settings: Settings
) -> None:
    job_id = make_job(database_settings)
    add_item(
        database_settings,
        job_id,
        "a",
        status="running",
        file_size_bytes=2048,
        bytes_read=1024,
        started_at="2025-08-23 02:38:22.035",
    )
    before = await read_one(api, job_id)
    assert (before["bytesRead"], before["completedAt"]) == (1024, None)
    assert before["seconds"] > 1_000_000
    assert (await read_one(api, job_id))["seconds"] > before["seconds"]


async def test_a_cancelled_file_keeps_what_was_read_of_it(
    api: Any, database_settings: Settings
) -> None:
    job_id = make_job(database_settings, status="cancelled")
    add_item(
        database_settings, job_id, "a", status="cancelled", file_size_bytes=9, bytes_read=3,
        completed_at="2025-08-23 02:38:22",
    )  # fmt: skip
    file = await read_one(api, job_id)
    assert (file["status"], file["bytesRead"], file["seconds"]) == ("cancelled", 3, None)


async def test_a_clock_that_went_back_makes_no_negative_time(
    api: Any, database_settings: Settings
) -> None:
    job_id = make_job(database_settings)
    times = {"started_at": "2025-08-23 02:00:01", "completed_at": "2025-08-23 02:00:00"}
    add_item(database_settings, job_id, "a", status="completed", **times)
    add_item(database_settings, job_id, "b", status="running", started_at="2999-01-01")
    assert [file["seconds"] for file in (await read(api, job_id))["files"]] == [0, 0]


@pytest.fixture
async def manager_database(empty_database: Settings) -> Settings:
    """The tables as TeamCache Manager makes them, which allow NULL where ours do not."""
    make_manager_database(empty_database, owner=empty_database.db_user, with_sizes=False)
    await migrate(empty_database)
    return empty_database


async def test_what_the_managers_worker_does_not_note_is_not_made_up(
    manager_database: Settings, aiohttp_client: Any
) -> None:
    api = await make_starter(aiohttp_client, manager_database)()
    job_id = make_job(manager_database, total_files=None, completed_files=None)
    sizeless = {"file_size_bytes": None, "bytes_read": None}
    for status in STATUSES:
        add_item(manager_database, job_id, status, status=status, **sizeless)
    add_item(manager_database, job_id, "sized", status="completed", file_size_bytes=7)
    files = (await read(api, job_id))["files"]
    assert [file["status"] for file in files] == [*STATUSES, "completed"]
    assert [file["sizeBytes"] for file in files] == [0, 0, 0, 0, 0, 7]
    # A completed file was read to its end.
    assert [file["bytesRead"] for file in files] == [0, 0, 0, 0, 0, 7]
    assert {file["seconds"] for file in files} == {None}


@pytest.mark.parametrize(
    "name", ['"quoted".mov', "back\\slash", "%s %(x)s %", "new\nline", "Ä/日本/🎬.mov", " ", "'"]
)
async def test_odd_names_are_shown_as_they_are(
    api: Any, database_settings: Settings, name: str
) -> None:
    job_id = make_job(database_settings)
    add_item(database_settings, job_id, name)
    assert (await read_one(api, job_id))["path"] == name


async def test_a_path_outside_the_filespace_stays_whole(
    api: Any, database_settings: Settings
) -> None:
    job_id = make_job(database_settings)
    add_item(database_settings, job_id, "", file_path="/elsewhere/a.mov")
    add_item(database_settings, job_id, "", file_path=f"{MOUNT}0/a.mov")
    paths = [file["path"] for file in (await read(api, job_id))["files"]]
    assert paths == ["/elsewhere/a.mov", f"{MOUNT}0/a.mov"]


async def test_pages_follow_one_another_without_a_gap(
    api: Any, database_settings: Settings
) -> None:
    job_id = make_job(database_settings, total_files=25)
    for status in ("completed", "pending", "failed", "running", "cancelled"):
        add_items(database_settings, job_id, 5, status)
    everything = (await read(api, job_id))["files"]
    assert [file["path"] for file in everything[:6]] == [
        *(f"completed/{n}" for n in range(1, 6)),
        "pending/1",
    ]
    pages = [await read(api, job_id, limit=4, offset=offset) for offset in range(0, 32, 4)]
    assert {page["total"] for page in pages} == {25}
    paged = [file["path"] for page in pages for file in page["files"]]
    assert paged == [file["path"] for file in everything]


async def test_of_other_jobs_nothing_is_shown(api: Any, database_settings: Settings) -> None:
    mine, other = (make_job(database_settings, total_files=4) for _ in range(2))
    for job_id in (mine, other, mine, other):
        for status in STATUSES:
            add_item(database_settings, job_id, f"{job_id}.{status}", status=status)
    for status in (None, *STATUSES):
        body = await read(api, mine, **({"status": status} if status else {}))
        assert body["total"] == len(body["files"]) == (2 if status else 10)
        assert {file["path"].split(".")[0] for file in body["files"]} == {mine}


@pytest.mark.parametrize("status", STATUSES)
async def test_files_of_one_state_are_paged_and_counted(
    api: Any, database_settings: Settings, status: str
) -> None:
    job_id = make_job(database_settings, total_files=35, completed_files=7, failed_files=7)
    for each in STATUSES:
        add_items(database_settings, job_id, 7, each)
    seen = []
    for offset, count in ((0, 3), (3, 3), (6, 1), (9, 0)):
        body = await read(api, job_id, status=status, limit=3, offset=offset)
        assert (len(body["files"]), body["total"]) == (count, 7)
        seen += [file["path"] for file in body["files"]]
    assert seen == [f"{status}/{n}" for n in range(1, 8)]


async def test_where_nobody_keeps_counters_the_files_are_counted(
    manager_database: Settings, aiohttp_client: Any
) -> None:
    api = await make_starter(aiohttp_client, manager_database)()
    job_id = make_job(manager_database, total_files=None, completed_files=None, failed_files=None)
    for status in STATUSES:
        add_items(manager_database, job_id, 3, status)
    for status, total in ((None, 15), *((each, 3) for each in STATUSES)):
        query = {"status": status} if status else {}
        assert (await read(api, job_id, limit=1, **query))["total"] == total
        assert (await read(api, job_id, offset=99, **query))["total"] == total


async def test_the_total_is_never_less_than_what_was_shown(
    api: Any, database_settings: Settings
) -> None:
    job_id = make_job(database_settings, total_files=2, completed_files=1)
    add_items(database_settings, job_id, 5, "completed")
    assert (await read(api, job_id, limit=2, offset=2))["total"] == 4
    assert (await read(api, job_id, limit=2, offset=2, status="completed"))["total"] == 4
    assert (await read(api, job_id, limit=2, offset=4))["total"] == 5


async def test_a_page_holds_50_files_unless_told_and_1000_at_most(
    api: Any, database_settings: Settings
) -> None:
    job_id = make_job(database_settings, total_files=1100)
    add_items(database_settings, job_id, 1100)
    for query, expected in (
        ({}, 50),
        ({"limit": 1000}, 1000),
        ({"offset": 1099}, 1),
        ({"offset": 1100}, 0),
        ({"offset": 1_000_000_000}, 0),
    ):
        body = await read(api, job_id, **query)
        assert (len(body["files"]), body["total"]) == (expected, 1100)


async def test_a_job_without_files_has_none(api: Any, database_settings: Settings) -> None:
    body = await read(api, make_job(database_settings, total_files=0))
    assert (body["files"], body["total"]) == ([], 0)


async def test_the_files_of_a_job_that_does_not_exist_are_not_found(api: Any) -> None:
    for query in ("", "?offset=10", "?status=running"):
        response = await api.get(f"{JOBS}/{UNKNOWN_ID}/files{query}")
        assert response.status == 404
        assert await response.json() == {"success": False, "error": "Job not found"}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("status=paused", "status must be one of pending, running, completed, failed, cancelled"),
        ("status=", "status must be one of"),
        ("status=Pending", "status must be one of"),
        ("limit=0", "limit must be a whole number from 1 to 1000"),
        ("limit=1001", "limit must be a whole number from 1 to 1000"),
        ("limit=ten", "limit must be"),
        ("offset=-1", "offset must be a whole number from 0 to 1000000000"),
        ("offset=1000000001", "offset must be"),
        ("offset=1e3", "offset must be"),
    ],
)
async def test_a_wrong_query_is_refused(api: Any, query: str, says: str) -> None:
    response = await api.get(f"{JOBS}/{UNKNOWN_ID}/files?{query}")
    body = await response.json()
    assert response.status == 400
    assert says in body["error"]


async def test_a_wrong_id_is_refused(api: Any) -> None:
    for job_id in ("1", UNKNOWN_ID.replace("-", ""), f"{UNKNOWN_ID}0", "%27"):
        response = await api.get(f"{JOBS}/{job_id}/files")
        assert response.status == 400
        assert (await response.json())["error"] == "Invalid job ID format"


async def test_files_are_shown_to_those_with_a_key_only(api: Any) -> None:
    response = await api.get(f"{JOBS}/{UNKNOWN_ID}/files", headers={"X-API-Key": "wrong"})
    assert response.status == 401


@pytest.mark.usefixtures("still_clock")
async def test_reading_files_draws_from_the_bucket_of_polls(start_api: StartApi) -> None:
    api = await start_api(rate_limit_per_minute=1, poll_limit_per_minute=2)
    url = f"{JOBS}/{UNKNOWN_ID}/files"
    assert [(await api.get(url)).status for _ in range(3)] == [404, 404, 429]


async def test_the_bytes_of_a_file_that_is_being_read_are_seen_to_move(
    start_api: StartApi, database_settings: Settings, tmp_path: Any
) -> None:
    mib = 1024**2
    async with open_bench(database_settings, tmp_path / "mount") as bench:
        await bench.index({"big.mov": 64 * mib})
        job_id = await bench.submit("")
        api = await start_api(container_mount_point=str(bench.mount))
        files = GatedFiles(bench.mount, held="big", after=32 * mib)
        async with bench.working(source=files):
            await happens(files.waiting)
            await bench.watch(job_id, lambda job: job.progress.completed_bytes > 0)
            file = await read_one(api, job_id)
            assert (file["path"], file["status"]) == ("big.mov", "running")
            assert 0 < file["bytesRead"] < file["sizeBytes"] == 64 * mib
            assert (await read(api, job_id, status="running"))["files"][0]["path"] == "big.mov"
            files.gate.set()
            await bench.end_of(job_id)
            ended = await read_one(api, job_id)
        assert (ended["status"], ended["bytesRead"]) == ("completed", 64 * mib)
        assert TIME.fullmatch(ended["completedAt"])
        assert datetime.fromisoformat(ended["startedAt"])
        assert ended["seconds"] > 0
