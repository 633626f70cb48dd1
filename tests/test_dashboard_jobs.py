"""What the dashboard shows of jobs: in a list that is longer than it shows, and one in full."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from dashboard_kit import ENDLESS, cancel, detail_of, give_key, jobs_of, submit, watched_page
from index_rows import run
from live_gateway import LiveGateway, free_port
from programs import ROOT, started, variables

from gateway.settings import Settings

LISTED, ALL = 1000, 1200
OLD_JOBS = """
INSERT INTO cache_jobs (id, status, file_paths, directory_paths, total_files, total_size_bytes,
                        submitted_by)
SELECT gen_random_uuid(), 'pending', '{}', '{}', 10, 1000, 'default' FROM generate_series(1, %s)
"""
JOB = """
INSERT INTO cache_jobs (id, status, file_paths, directory_paths, total_files, completed_files,
                        failed_files, total_size_bytes, completed_size_bytes, submitted_by,
                        created_at)
VALUES (%s, 'completed', '{}', '{}', 10000, 2500, 7500, 1000, 1000, %s,
        now() - make_interval(days => %s))
"""
SIDE = {"viewport": {"width": 1280, "height": 800}}
COVERED = """([a, b]) => {
  const [one, other] = [a, b].map((id) => document.querySelector(id).getBoundingClientRect());
  return one.bottom > other.top && other.bottom > one.top && one.right > other.left
    && other.right > one.left;
}"""
CUT = "it => it.scrollWidth > it.clientWidth"
FIND = "Find a job by its id"


@pytest.fixture
def many(database_settings: Settings, tmp_path: Any) -> Iterator[str]:
    """The URL of a gateway whose database holds more jobs than the dashboard shows."""
    port = free_port()
    environ = variables(database_settings, PORT=str(port), LOG_LEVEL="warning")
    with started("-m", "gateway", "serve", environ=environ, folder=tmp_path) as service:
        service.wait_for("")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def page(browser: Any, gateway: LiveGateway) -> Iterator[Any]:
    """The dashboard, with the key, as wide as a laptop."""
    with watched_page(browser, gateway.url, **SIDE) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        give_key(page)
        jobs_of(page).wait_for(state="attached")
        yield page
