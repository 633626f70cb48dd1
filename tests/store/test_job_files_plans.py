"""What PostgreSQL makes of a page of the files of a large job: a walk along an index, no sort."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.database.sql import load_queries
from gateway.job import FileStatus
from gateway.jobs.files import LAST_ID
from support.plans_kit import YOUNG_JOB, Node, Plans, blocks, indexes, scanned

FILES = load_queries("planner", "job_files")
STATES = "teamcache_gateway_cache_job_items_state"


def explain(
    plans: Plans,
    job_id: str,
    status: str | None,
    *,
    first: str = "",
    limit: int = 50,
    offset: int = 0,
) -> Sequence[Node]:
    parameters: dict[str, Any] = {
        "job": job_id, "status": status, "limit": limit, "offset": offset,
        "states": list(FileStatus), "last": LAST_ID,
    }  # fmt: skip
    first += FILES["keep_to_the_order"]
    return plans.explain(FILES["page"], parameters, first=first, run=True)


def most_sorted(nodes: Sequence[Node]) -> int:
    return max((node["Actual Rows"] for node in nodes if node["Node Type"] == "Sort"), default=0)


@pytest.mark.parametrize("status", [None, *FileStatus])
def test_a_first_page_reads_little_more_than_it_shows(
    plans: Plans,
    status: str | None,
) -> None:
    nodes = explain(plans, plans.large_job, status)
    assert scanned(nodes) == set()
    assert STATES in indexes(nodes)
    assert blocks(nodes) < 400
    assert most_sorted(nodes) <= 50


@pytest.mark.parametrize("status", [None, "completed"])
@pytest.mark.parametrize("limit", [1, 1000])
def test_a_late_page_is_walked_to_and_nothing_is_sorted_on_the_way(
    plans: Plans,
    status: str | None,
    limit: int,
) -> None:
    nodes = explain(plans, plans.large_job, status, offset=90_000, limit=limit)
    assert nodes[0]["Actual Rows"] == limit
    assert scanned(nodes) == set()
    assert most_sorted(nodes) <= limit


@pytest.mark.parametrize("status", [None, *FileStatus])
@pytest.mark.parametrize("limit", [50, 1000])
def test_a_job_that_no_statistics_know_is_walked_as_well(
    plans: Plans,
    status: str | None,
    limit: int,
) -> None:
    nodes = explain(plans, str(uuid.uuid4()), status, first=YOUNG_JOB, limit=limit)
    assert scanned(nodes) == set()
    assert most_sorted(nodes) <= limit
    assert blocks(nodes) < 100 + 6 * limit


@pytest.mark.parametrize("status", ["pending", "running", "failed", "cancelled"])
def test_few_files_of_a_state_are_counted_without_reading_the_others(
    plans: Plans,
    status: str,
) -> None:
    nodes = plans.explain(FILES["count"], {"job": plans.large_job, "status": status}, run=True)
    assert scanned(nodes) == set()
    assert blocks(nodes) < 60
