"""Lists of jobs: newest first, in pages, by status."""

from __future__ import annotations

import re
from typing import Any

from gateway.settings import Settings
from support.index_rows import make_job, run

JOBS = "/api/v1/cache/jobs"
UNKNOWN_ID = "6bb4629b-1487-477c-96fe-b762d82a099b"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
GIB = 1024**3


async def test_a_listed_job_is_shown_as_the_document_shows_it(
    api: Any, database_settings: Settings
) -> None:
    job_id = make_job(
        database_settings,
        status="completed",
        total_files=2,
        completed_files=2,
        total_size_bytes=1_013_645_672,
        completed_size_bytes=1_013_645_672,
        created_at="2025-08-23 02:38:17.048",
        completed_at="2025-08-23 02:38:23.334",
    )
    body = await (await api.get(JOBS)).json()
    assert (body["success"], body["total"]) == (True, 1)
    documented = {
        "id": job_id,
        "status": "completed",
        "totalFiles": 2,
        "totalSizeBytes": 1_013_645_672,
        "totalSizeReadable": "966.69 MB",
        "completedFiles": 2,
        "completedSizeBytes": 1_013_645_672,
        "completedSizeReadable": "966.69 MB",
        "createdAt": "2025-08-23T02:38:17.048Z",
        "completedAt": "2025-08-23T02:38:23.334Z",
    }
    (job,) = body["jobs"]
    assert job | documented == job
    beyond = {"failedFiles": 0, "percentage": 100, "startedAt": None, "error": None}
    beyond["submittedBy"] = None
    assert job == documented | beyond


async def test_the_newest_job_comes_first_and_pages_do_not_overlap(
    api: Any, database_settings: Settings
) -> None:
    made = [
        make_job(database_settings, created_at=f"2025-08-23 02:00:0{second}")
        for second in (3, 1, 4, 0, 2)
    ]
    newest_first = [made[2], made[0], made[4], made[1], made[3]]
    seen = []
    for offset in (0, 2, 4, 6):
        body = await (await api.get(JOBS, params={"limit": 2, "offset": offset})).json()
        assert body["total"] == 5
        seen += [job["id"] for job in body["jobs"]]
    assert seen == newest_first


async def test_a_page_holds_50_jobs_unless_told_and_100_at_most(
    api: Any, database_settings: Settings
) -> None:
    run(
        database_settings,
        "INSERT INTO cache_jobs (file_paths, total_files) SELECT '{}', 1"
        " FROM generate_series(1, 120)",
    )
    for query, expected in (("", 50), ("?limit=100", 100), ("?offset=119", 1), ("?offset=120", 0)):
        body = await (await api.get(JOBS + query)).json()
        assert (len(body["jobs"]), body["total"]) == (expected, 120)


async def test_jobs_are_listed_by_status_and_the_total_counts_what_matches(
    api: Any, database_settings: Settings
) -> None:
    statuses = ["pending", "running", "paused", "completed", "failed", "cancelled"]
    made = {status: make_job(database_settings, status=status) for status in statuses}
    for status, job_id in made.items():
        body = await (await api.get(JOBS, params={"status": status})).json()
        assert ([job["id"] for job in body["jobs"]], body["total"]) == ([job_id], 1)
    assert (await (await api.get(JOBS)).json())["total"] == len(statuses)
