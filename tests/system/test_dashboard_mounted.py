"""The dashboard in another application, under a prefix, with as many jobs as it shows."""

from __future__ import annotations

import uuid
from typing import Any

from gateway.settings import Settings
from support.dashboard_kit import give_key, watched_page
from support.index_rows import run

JOBS = 1000
NEW_JOBS = """
INSERT INTO cache_jobs (id, status, file_paths, directory_paths, total_files, total_size_bytes)
SELECT gen_random_uuid(), 'pending', '{}', '{}', 10, 1000 FROM generate_series(1, %s)
"""
NEW_JOB = """
INSERT INTO cache_jobs (id, status, file_paths, directory_paths, total_files, total_size_bytes)
VALUES (%s, 'paused', '{}', '{}', 77, 1000)
"""


def test_under_a_prefix_without_a_slash_it_shows_a_thousand_jobs(
    browser: Any, mounted: str, database_settings: Settings
) -> None:
    run(database_settings, NEW_JOBS, JOBS)
    with watched_page(browser, mounted) as page:
        assert page.url == f"{mounted}/"
        give_key(page)
        page.get_by_role("group", name="Show jobs").get_by_text("Active 1,000").wait_for()
        # By its class: a search by roles in so large a page takes longer than making it.
        page.locator(".row").nth(JOBS - 1).wait_for(state="attached")
        run(database_settings, NEW_JOB, str(uuid.uuid4()))
        first = page.locator(".row").first
        first.get_by_text("0 of 77").wait_for()
        first.get_by_text("Paused", exact=True).wait_for()
