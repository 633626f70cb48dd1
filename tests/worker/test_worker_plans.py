"""What PostgreSQL makes of the worker's statements on a job of 100,000 files."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest

from gateway.database import array_literal
from support.plans_kit import (
    ALL_PENDING,
    CLAIM,
    PLANNER,
    WORKER,
    YOUNG_JOB,
    Node,
    Parameters,
    Plans,
    blocks,
    indexes,
    scanned,
    small_folders,
    walk,
)


def test_the_last_items_of_a_large_job_are_claimed_without_reading_the_others(
    plans: Plans,
) -> None:
    parameters = {"job": plans.large_job, "worker": "ours", "limit": 200, **CLAIM}
    nodes = plans.explain(WORKER["claim"], parameters, run=True)
    assert "teamcache_gateway_cache_job_items_state" in indexes(nodes)
    assert "cache_job_items" not in scanned(nodes)
    claimed = [
        node["Actual Rows"]
        for node in nodes
        if node["Node Type"] == "ModifyTable" and node["Relation Name"] == "cache_job_items"
    ]
    assert claimed == [10]
    assert blocks(nodes) < 500


def test_a_fresh_large_job_is_claimed_by_the_same_index(plans: Plans) -> None:
    parameters = {"job": plans.large_job, "worker": "ours", "limit": 200, **CLAIM}
    nodes = plans.explain(WORKER["claim"], parameters, first=ALL_PENDING)
    assert "teamcache_gateway_cache_job_items_state" in indexes(nodes)
    assert "cache_job_items" not in scanned(nodes)


def walked(nodes: Sequence[Node]) -> float:
    """How many items were found by walking along the index of states."""
    [walk] = [
        node
        for node in nodes
        if node["Node Type"] == "Index Scan"
        and node["Index Name"] == "teamcache_gateway_cache_job_items_state"
    ]
    rows: float = walk["Actual Rows"]
    return rows


def test_a_job_that_is_younger_than_the_statistics_is_claimed_in_order(plans: Plans) -> None:
    first = YOUNG_JOB + PLANNER["keep_to_the_order"]
    parameters = {"job": str(uuid.uuid4()), "worker": "ours", "limit": 200, **CLAIM}
    nodes = plans.explain(WORKER["claim"], parameters, first=first, run=True)
    assert walked(nodes) == 200


def test_a_claim_in_the_middle_of_a_large_job_does_not_pass_by_what_is_done(plans: Plans) -> None:
    # As statistics see a job that is half done: behind it lie all older jobs' items too.
    half_done = (
        "UPDATE cache_job_items SET status = 'pending' WHERE job_id = %(job)s AND id > 80000;"
        " ANALYZE cache_job_items"
    )
    parameters = {"job": plans.large_job, "worker": "ours", "limit": 200, **CLAIM}
    nodes = plans.explain(WORKER["claim"], parameters, first=half_done, run=True)
    assert walked(nodes) == 200
    assert blocks(nodes) < 8000


def test_items_of_a_mount_that_is_gone_are_passed_so_many_at_a_time(plans: Plans) -> None:
    parameters = {
        "job": plans.large_job,
        "after": 50_000,
        "limit": 200,
        "window": 1000,
        "prefixes": ["/media/lucidlink-2/", "/media/lucidlink-3/"],
    }
    nodes = plans.explain(WORKER["pending_below"], parameters, first=ALL_PENDING)
    assert "teamcache_gateway_cache_job_items_state" in indexes(nodes)
    assert "cache_job_items" not in scanned(nodes)
    [passed] = [node for node in nodes if node.get("Relation Name") == "cache_job_items"]
    assert "id" in passed["Index Cond"]


def test_items_that_were_picked_are_claimed_one_by_one(plans: Plans) -> None:
    picked = array_literal(range(90_000, 90_200))
    parameters = {"job": plans.large_job, "worker": "ours", "limit": 200, **CLAIM, "items": picked}
    nodes = plans.explain(WORKER["claim"], parameters, first=ALL_PENDING)
    looks = [n for n in nodes if n["Node Type"] == "Index Scan" and n.get("Alias") == "i"]
    assert looks
    assert all("id" in node["Index Cond"] for node in looks)
    assert "cache_job_items" not in scanned(nodes)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("active_jobs", {"limit": 64, "excluded": []}),
        ("lock_own_lease", {"worker": "ours"}),
        ("renew_lease", {"worker": "ours", "lease": 30}),
        ("lock_expired_leases", {"worker": "new", "everybody": True}),
        ("reclaim", {"workers": ["ours", "theirs"], "in_flight": "{}"}),
        ("reclaim", {"workers": ["ours"], "in_flight": array_literal(range(1, 500))}),
        ("end_leases", {"workers": ["ours"]}),
        ("active_jobs", {"limit": 64, "excluded": []}),
    ],
)
def test_what_a_worker_does_all_the_time_reads_no_large_table(
    plans: Plans, name: str, parameters: Parameters
) -> None:
    nodes = plans.explain(WORKER[name], {"job": plans.large_job, **parameters}, run=True)
    assert scanned(nodes) <= {"workers"}


def test_jobs_that_were_stopped_are_looked_up_by_their_ids(plans: Plans) -> None:
    nodes = plans.explain(WORKER["stopped_jobs"], {"jobs": [plans.large_job] * 5}, run=True)
    assert indexes(nodes) == {"cache_jobs_pkey"}


@pytest.mark.parametrize("total", ["total_files", "0"])
def test_a_report_touches_the_reported_items_alone(plans: Plans, total: str) -> None:
    items = list(range(30_001, 30_501))
    parameters = {
        "job": plans.large_job,
        "worker": "ours",
        "items": array_literal(items),
        "states": array_literal(["failed"] * 500),
        "errors": array_literal(["gone"] * 500),
        "reported_bytes": array_literal([1] * 500),
    }
    before = (
        "UPDATE cache_job_items SET status = 'running', worker_id = 'ours'"
        " WHERE id BETWEEN 30001 AND 30500;"
        f"UPDATE cache_jobs SET total_files = {total} WHERE id = %(job)s;"
    )
    first = f"{before} {PLANNER['keep_to_the_order']}"
    nodes = plans.explain(WORKER["report"], parameters, first=first, run=True)
    assert scanned(nodes) == set()
    [others] = [node for node in nodes if node.get("Subplan Name") == "CTE others"]
    assert sum(node["Actual Loops"] for node in walk(others)) <= (
        0 if total == "total_files" else 5
    )
    assert [node for node in nodes if "Join Filter" in node] == []
    [locked] = [node for node in nodes if node.get("Alias") == "i" and "Filter" in node]
    assert locked["Actual Rows"] + locked.get("Rows Removed by Filter", 0) == 500


@pytest.mark.parametrize("count", [1, 100, 500])
def test_read_files_are_marked_through_an_index(plans: Plans, count: int) -> None:
    items = array_literal(range(30_001, 30_001 + count))
    parameters = {"items": items, "job": plans.large_job}
    assert scanned(plans.explain(WORKER["set_cached_flags"], parameters)) == set()


def test_whole_directories_are_marked_through_indexes(plans: Plans) -> None:
    parameters = {"paths": small_folders(plans, 100), "job": plans.large_job}
    assert scanned(plans.explain(WORKER["set_cached_directory_flags"], parameters)) == set()
    [small_job] = plans.fetch("SELECT id::text FROM cache_jobs WHERE total_files = 10 LIMIT 1")
    nodes = plans.explain(WORKER["parents_of_read_files"], {"job": small_job})
    assert scanned(nodes) == set()


def test_the_unmarked_files_of_a_large_job_are_found_in_the_order_of_an_index(plans: Plans) -> None:
    parameters = {"job": plans.large_job, "after": 0, "limit": 10_000}
    first = PLANNER["keep_to_the_order"]
    nodes = plans.explain(WORKER["files_with_unset_flags"], parameters, first=first)
    assert "teamcache_gateway_cache_job_items_state" in indexes(nodes)
    assert "cache_job_items_pkey" not in indexes(nodes)


def test_the_first_failed_file_of_a_large_job_is_looked_up_by_the_index_of_states(
    plans: Plans,
) -> None:
    failed = "UPDATE cache_job_items SET status = 'failed' WHERE job_id = %(job)s AND id % 1000 = 7"
    nodes = plans.explain(
        WORKER["finish_drained_job"], {"job": plans.large_job}, first=failed.replace(" % ", " %% ")
    )
    assert "teamcache_gateway_cache_job_items_state" in indexes(nodes)


@pytest.mark.parametrize("quiet", [0, 600])
def test_jobs_that_did_not_notice_their_end_are_found_without_reading_the_items_of_others(
    plans: Plans, quiet: int
) -> None:
    nodes = plans.explain(WORKER["drained_jobs"], {"quiet": quiet, "limit": 256}, run=True)
    assert scanned(nodes) == set()
