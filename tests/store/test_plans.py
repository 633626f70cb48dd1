"""What PostgreSQL makes of the real statements on an index of 100,000 files.

A plan is looked at, never a clock: below one per cent of the index nothing may read all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.database import array_literal
from gateway.database.sql import load_queries
from support.plans_kit import (
    FOLDED,
    JOBS,
    PATHS,
    Parameters,
    Plans,
    blocks,
    indexes,
    scanned,
    small_folders,
    some_files,
)


def create_parameters(**given: Sequence[str] | Sequence[int]) -> Parameters:
    names = (
        *("trees", "folders", "paths", "sizes", "maybe_paths", "maybe_sizes"),
        *("file_paths", "directory_paths"),
    )
    arrays = {name: array_literal(given.get(name, ())) for name in names}
    job = {"id": "7d3b3a52-3d3f-4a53-9c07-9c8b6f5e9a10", "submitted_by": "default"}
    return {**job, **arrays}


ANSWERED = """
INSERT INTO teamcache_gateway.idempotency_keys
SELECT 'default', n, '', gen_random_uuid(), '', now() - n * interval '15 seconds'
FROM generate_series(1, 5000) AS n;
ANALYZE teamcache_gateway.idempotency_keys;
"""
PURGE = load_queries("purge")
KEYS = load_queries("idempotency")
SIGNED = """
INSERT INTO teamcache_gateway.signature_nonces
SELECT 'farm', n, now() - n * interval '3 seconds' FROM generate_series(1, 5000) AS n;
ANALYZE teamcache_gateway.signature_nonces;
"""


def test_an_answered_key_is_looked_up_in_its_index(plans: Plans) -> None:
    key = {"caller": "default", "key": "77"}
    nodes = plans.explain(KEYS["find"], key, first=ANSWERED)
    assert indexes(nodes) == {"idempotency_keys_pkey"}
    nodes = plans.explain(PURGE["idempotency_keys"], {"limit": 100}, first=ANSWERED)
    assert "idempotency_keys_created_at" in indexes(nodes)


def test_old_nonces_are_found_by_their_age(plans: Plans) -> None:
    nodes = plans.explain(PURGE["signature_nonces"], {"limit": 100}, first=SIGNED)
    assert "signature_nonces_seen_at" in indexes(nodes)


def test_the_database_is_in_the_locale_that_we_make(plans: Plans) -> None:
    [locale] = plans.fetch("SELECT datcollate FROM pg_database WHERE datname = current_database()")
    assert locale.startswith("C")
    assert int(plans.fetch("SELECT count(*) FROM files")[0]) > 100_000


@pytest.mark.parametrize("count", [1, 10, 200])
@pytest.mark.parametrize("kind", ["trees", "folders"])
def test_a_job_for_small_directories_reads_no_whole_table(
    plans: Plans, kind: str, count: int
) -> None:
    directories = small_folders(plans, count)
    assert len(directories) == count
    nodes = plans.explain(JOBS["create"], create_parameters(**{kind: directories}), run=True)
    assert scanned(nodes) == set()


@pytest.mark.parametrize("kind", ["trees", "folders"])
def test_a_large_directory_is_read_through_an_index(plans: Plans, kind: str) -> None:
    [largest] = plans.fetch(
        "SELECT parent_path FROM files GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
    )
    nodes = plans.explain(JOBS["create"], create_parameters(**{kind: [largest]}))
    assert scanned(nodes) == set()


def test_a_job_for_ten_thousand_listed_files_reads_no_whole_table(plans: Plans) -> None:
    paths = some_files(plans, 10_000)
    listed = {"paths": paths, "sizes": [1] * len(paths), "file_paths": paths}
    assert scanned(plans.explain(JOBS["create"], create_parameters(**listed))) == set()
    maybe = {"trees": small_folders(plans, 1), "maybe_paths": paths, "maybe_sizes": [1] * 10_000}
    assert scanned(plans.explain(JOBS["create"], create_parameters(**maybe))) == set()


@pytest.mark.parametrize("count", [1, 100, 10_000])
@pytest.mark.parametrize("typed", [str, str.upper, "{}.unknown".format])
def test_names_are_looked_up_one_by_one(plans: Plans, typed: Any, count: int) -> None:
    paths = array_literal(map(typed, some_files(plans, count)))
    nodes = plans.explain(PATHS["look_up"], {"paths": paths}, run=True)
    assert scanned(nodes) == set() and FOLDED in indexes(nodes)


def test_names_that_are_known_exactly_are_not_looked_for_by_likeness(plans: Plans) -> None:
    paths = array_literal(some_files(plans, 10_000))
    nodes = plans.explain(PATHS["look_up"], {"paths": paths}, run=True)
    assert [node["Actual Loops"] for node in nodes if node.get("Index Name") == FOLDED] == [0]
    assert blocks(nodes) < 10_000 * 5


@pytest.mark.parametrize("recursive", [True, False])
@pytest.mark.parametrize("count", [1, 10, 200])
def test_directories_are_looked_up_one_by_one(plans: Plans, count: int, recursive: bool) -> None:
    for directories in (small_folders(plans, count), some_files(plans, count)):
        parameters = {"paths": array_literal(directories), "recursive": recursive}
        nodes = plans.explain(PATHS["without_files"], parameters, run=True)
        assert scanned(nodes) == set()
        assert blocks(nodes) < 40 * count


@pytest.mark.parametrize("status", [None, "running", "completed"])
def test_a_list_of_jobs_reads_as_many_rows_as_it_shows_and_no_paths(
    plans: Plans, status: str | None
) -> None:
    asked = {"status": status, "limit": 50, "offset": 0, "submitted_by": None}
    nodes = plans.explain(JOBS["list"], asked, run=True)
    assert scanned(nodes) == set()
    # The paths of the large job alone fill more.
    assert blocks(nodes) < 60
    assert paths_blocks(plans) > 100


def test_a_page_of_versions_reads_no_paths_though_it_counts_all_jobs(plans: Plans) -> None:
    wanted = {"status": None, "limit": 50, "offset": 0, "submitted_by": None}
    nodes = plans.explain(JOBS["page"], wanted, run=True)
    assert blocks(nodes) < paths_blocks(plans)


def test_a_job_is_read_without_its_paths(plans: Plans) -> None:
    for name in ("get", "status"):
        asked = {"id": plans.large_job, "submitted_by": None}
        nodes = plans.explain(JOBS[name], asked, run=True)
        assert indexes(nodes) == {"cache_jobs_pkey"}
        assert blocks(nodes) < 10


def test_a_change_of_a_large_job_does_not_read_its_paths(plans: Plans) -> None:
    """The triggers' conditions name their columns."""
    parameters = {"id": plans.large_job, "submitted_by": None}
    for statement in (
        JOBS["cancel"],
        "UPDATE cache_jobs SET completed_files = 7 WHERE id = %(id)s",
        "UPDATE cache_jobs SET worker_id = 'w' WHERE id = %(id)s",
    ):
        assert blocks(plans.explain(statement, parameters, run=True)) < 100


def paths_blocks(plans: Plans) -> int:
    [size] = plans.fetch(
        "SELECT pg_relation_size(reltoastrelid) / 8192 FROM pg_class WHERE relname = 'cache_jobs'"
    )
    return int(size)


def test_cancelled_items_are_found_by_the_index_of_states(plans: Plans) -> None:
    cancelled = "UPDATE cache_jobs SET status = 'cancelled' WHERE id = %(id)s"
    parameters = {"id": plans.large_job, "limit": 10_000}
    nodes = plans.explain(JOBS["cancel_items"], parameters, first=cancelled, run=True)
    assert "teamcache_gateway_cache_job_items_state" in indexes(nodes)
    assert scanned(nodes) == set()


def test_cancelled_jobs_are_searched_without_reading_pending_items_of_others(
    plans: Plans,
) -> None:
    pending = "UPDATE cache_job_items SET status = 'pending' WHERE job_id = %(job)s"
    nodes = plans.explain(
        JOBS["cancelled_with_pending_items"],
        {"job": plans.large_job},
        first=pending,
        run=True,
    )
    assert scanned(nodes) == set()
    assert "teamcache_gateway_cache_jobs_cancelled" in indexes(nodes)
    [looked_up] = [n for n in nodes if n.get("Relation Name") == "cache_job_items"]
    assert looked_up["Actual Loops"] == 1000
    assert looked_up["Actual Rows"] == 0
