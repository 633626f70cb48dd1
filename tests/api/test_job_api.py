"""Reading, listing and cancelling jobs: what is shown of each state, and what may be cancelled."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.database import Database
from gateway.settings import Settings
from support.database import StartApi
from support.index_rows import UNKNOWN_ID, add_files, change_job, job_rows, make_job, run

JOBS = "/api/v1/cache/jobs"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
GIB = 1024**3


@pytest.fixture
async def job_id(api: Any, database_settings: Settings) -> str:
    """A pending job of 20 files, 80 GiB."""
    add_files(database_settings, dict.fromkeys((f"a/{n:02}.mov" for n in range(20)), 4 * GIB))
    response = await api.post(JOBS, json={"directories": ["a"]})
    identifier: str = (await response.json())["jobId"]
    return identifier


async def read(api: Any, job_id: str) -> dict[str, Any]:
    response = await api.get(f"{JOBS}/{job_id}")
    body = await response.json()
    assert response.status == 200
    assert set(body) == {"success", "job"}
    assert body["success"] is True
    job: dict[str, Any] = body["job"]
    return job


async def test_a_pending_job_is_shown_with_every_field(api: Any, job_id: str) -> None:
    job = await read(api, job_id)
    assert TIME.fullmatch(job.pop("createdAt"))
    assert job == {
        "id": job_id,
        "status": "pending",
        "totalFiles": 20,
        "progress": {
            "files": {"completed": 0, "failed": 0, "total": 20, "percentage": 0},
            "size": {
                "completedBytes": 0,
                "totalBytes": 80 * GIB,
                "completedReadable": "0 B",
                "totalReadable": "80.0 GB",
                "percentage": 0,
            },
            "percentage": 0,
        },
        "throughput": None,
        "eta": None,
        "startedAt": None,
        "completedAt": None,
        "error": None,
        "submittedBy": "default",
    }


async def test_a_running_job_is_shown_as_the_document_shows_it(
    api: Any, database_settings: Settings, job_id: str
) -> None:
    change_job(
        database_settings,
        job_id,
        status="running",
        created_at="2025-08-23 02:38:17.048999",
        started_at="2025-08-23 02:38:22.035",
        completed_files=15,
        completed_size_bytes=64_424_509_440,
    )
    job = await read(api, job_id)
    # A quarter is left, so it takes a third of the time that three quarters took.
    elapsed = datetime.now(UTC) - datetime(2025, 8, 23, 2, 38, 22, 35_000, UTC)
    eta = job.pop("eta")
    if elapsed < timedelta(days=3 * 365):  # beyond a year nothing is told
        assert eta["seconds"] == pytest.approx(elapsed.total_seconds() / 3, abs=60)
        assert datetime.fromisoformat(eta["time"]) > datetime.now(UTC)
    assert job == {
        "id": job_id,
        "status": "running",
        "totalFiles": 20,
        "progress": {
            "files": {"completed": 15, "failed": 0, "total": 20, "percentage": 75},
            "size": {
                "completedBytes": 64_424_509_440,
                "totalBytes": 85_899_345_920,
                "completedReadable": "60.0 GB",
                "totalReadable": "80.0 GB",
                "percentage": 75,
            },
            "percentage": 75,
        },
        "throughput": None,
        "createdAt": "2025-08-23T02:38:17.048Z",
        "startedAt": "2025-08-23T02:38:22.035Z",
        "completedAt": None,
        "error": None,
        "submittedBy": "default",
    }


async def test_a_job_that_ended_tells_when_and_what_failed(
    api: Any, database_settings: Settings, job_id: str
) -> None:
    change_job(
        database_settings,
        job_id,
        status="completed",
        completed_at="2025-08-23 02:38:23.334",
        completed_files=19,
        failed_files=1,
        completed_size_bytes=76 * GIB,
        failed_size_bytes=4 * GIB,
        error_message="1 of 20 files failed",
    )
    job = await read(api, job_id)
    assert job["status"] == "completed"
    assert job["completedAt"] == "2025-08-23T02:38:23.334Z"
    assert job["error"] == "1 of 20 files failed"
    assert job["progress"]["files"] == {
        "completed": 19,
        "failed": 1,
        "total": 20,
        "percentage": 100,
    }
    assert job["progress"]["size"]["percentage"] == job["progress"]["percentage"] == 100


async def test_a_paused_job_is_shown_as_paused_and_is_no_end(
    api: Any, database_settings: Settings, job_id: str
) -> None:
    change_job(database_settings, job_id, status="paused")
    assert (await read(api, job_id))["status"] == "paused"
    assert (await api.delete(f"{JOBS}/{job_id}")).status == 200


async def test_a_job_that_does_not_exist_is_not_found(api: Any) -> None:
    for method in ("GET", "DELETE"):
        response = await api.request(method, f"{JOBS}/{UNKNOWN_ID}")
        assert response.status == 404
        assert await response.json() == {"success": False, "error": "Job not found"}


async def test_a_job_that_has_not_changed_is_not_sent_again(
    api: Any, database_settings: Settings, job_id: str
) -> None:
    url = f"{JOBS}/{job_id}"
    etag = (await api.get(url)).headers["ETag"]
    for known in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        response = await api.get(url, headers={"If-None-Match": known})
        assert (response.status, await response.read()) == (304, b"")
        assert response.headers["ETag"] == etag
        assert "X-Request-ID" in response.headers
    change_job(database_settings, job_id, status="running", completed_files=1)
    async with asyncio.timeout(30):
        while (response := await api.get(url, headers={"If-None-Match": etag})).status == 304:
            await asyncio.sleep(0.01)
    assert response.status == 200
    assert response.headers["ETag"] != etag


@pytest.mark.parametrize("known", ['"', "x", '""', "W/", ",,,", '"\\"'])
async def test_an_etag_of_nobody_changes_nothing(api: Any, job_id: str, known: str) -> None:
    assert (await api.get(f"{JOBS}/{job_id}", headers={"If-None-Match": known})).status == 200


async def wait_for_cancelled_items(settings: Settings, job_id: str) -> None:
    """Look until no item of the job is pending."""
    async with asyncio.timeout(30):
        while any(row.status == "pending" for row in job_rows(settings, job_id)):
            await asyncio.sleep(0)


async def test_a_cancelled_job_is_cancelled_at_once_and_its_items_follow(
    api: Any, database_settings: Settings, job_id: str
) -> None:
    response = await api.delete(f"{JOBS}/{job_id}")
    assert response.status == 200
    assert await response.json() == {"success": True, "message": "Job cancelled successfully"}
    job = await read(api, job_id)
    assert job["status"] == "cancelled"
    assert TIME.fullmatch(job["completedAt"])
    await wait_for_cancelled_items(database_settings, job_id)
    assert {row.status for row in job_rows(database_settings, job_id)} == {"cancelled"}


async def test_cancelling_leaves_alone_what_has_ended_and_what_is_being_read(
    api: Any, database_settings: Settings, job_id: str
) -> None:
    change_job(database_settings, job_id, status="running")
    names = [row.path for row in job_rows(database_settings, job_id)]
    for name, status in zip(names, ("completed", "failed", "running"), strict=False):
        run(
            database_settings,
            "UPDATE cache_job_items SET status = %s WHERE file_path LIKE %s",
            status,
            f"%{name}",
        )
    await api.delete(f"{JOBS}/{job_id}")
    await wait_for_cancelled_items(database_settings, job_id)
    found = [row.status for row in job_rows(database_settings, job_id)]
    assert found == ["completed", "failed", "running", *["cancelled"] * 17]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_a_job_that_has_ended_cannot_be_cancelled(
    api: Any, database_settings: Settings, status: str
) -> None:
    job_id = make_job(database_settings, status=status)
    response = await api.delete(f"{JOBS}/{job_id}")
    assert response.status == 409
    assert await response.json() == {
        "success": False,
        "error": f"Job has already ended: {status}",
        "details": {"status": status},
    }


async def test_of_many_who_cancel_a_job_one_succeeds(api: Any, job_id: str) -> None:
    answers = await asyncio.gather(*(api.delete(f"{JOBS}/{job_id}") for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7


async def test_a_cancelled_job_stays_cancelled_whatever_the_backends_worker_writes(
    api: Any, database_settings: Settings, job_id: str
) -> None:
    await api.delete(f"{JOBS}/{job_id}")
    cancelled = await read(api, job_id)
    change_job(database_settings, job_id, status="completed", completed_files=20)
    assert await read(api, job_id) == cancelled


async def test_what_another_gateway_left_half_cancelled_is_finished_at_the_start(
    start_api: StartApi, database_settings: Settings
) -> None:
    job_id = make_job(database_settings, status="cancelled")
    run(
        database_settings,
        "INSERT INTO cache_job_items (job_id, file_path) VALUES (%s::uuid, '/media/lucidlink-1/a')",
        job_id,
    )
    await start_api()
    await wait_for_cancelled_items(database_settings, job_id)


@pytest.fixture
def backend_job(database_settings: Settings) -> str:
    """A running job of three files whose worker keeps no sizes: one done, one failed."""
    job_id = make_job(
        database_settings,
        status="running",
        total_files=3,
        completed_files=1,
        failed_files=1,
        total_size_bytes=1000,
    )
    items = (("a", "completed", 500), ("b", "failed", 300), ("c", "running", 200))
    for name, status, size in items:
        run(
            database_settings,
            "INSERT INTO cache_job_items (job_id, file_path, status, file_size_bytes)"
            " VALUES (%s::uuid, %s, %s, %s)",
            job_id,
            name,
            status,
            size,
        )
    return job_id


async def test_where_the_backend_keeps_no_sizes_they_are_summed_up_from_the_items(
    api: Any, backend_job: str
) -> None:
    progress = (await read(api, backend_job))["progress"]
    assert progress["size"]["completedBytes"] == 500
    assert progress["size"]["percentage"] == 80
    listed = (await (await api.get(JOBS)).json())["jobs"][0]
    assert listed["completedSizeBytes"] == 500


async def test_where_the_backend_keeps_completed_sizes_alone_failed_ones_are_summed_up(
    api: Any, database_settings: Settings, backend_job: str
) -> None:
    change_job(database_settings, backend_job, completed_size_bytes=550)
    size = (await read(api, backend_job))["progress"]["size"]
    assert (size["completedBytes"], size["percentage"]) == (550, 85)


async def test_many_polls_of_such_a_job_cost_one_sum(
    api: Any, backend_job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = []
    fetch = Database.fetch

    async def counting(self: Database, query: str, parameters: Any = None) -> Any:
        if "sum(file_size_bytes)" in query:
            sums.append(query)
        return await fetch(self, query, parameters)

    monkeypatch.setattr(Database, "fetch", counting)
    monkeypatch.setattr("gateway.jobs.store.SUM_SECONDS", 3600.0)
    for _ in range(5):
        await asyncio.gather(*(read(api, backend_job) for _ in range(10)))
    assert len(sums) == 1
