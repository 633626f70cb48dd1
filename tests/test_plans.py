"""What PostgreSQL makes of the real statements on an index of 100,000 files.

A plan is looked at, never a clock: below one per cent of the index nothing may read all of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from gateway.database import array_literal, connection_arguments
from gateway.embedded_postgres import EmbeddedPostgres
from gateway.migrations import migrate
from gateway.settings import Settings
from gateway.sql import load_queries
from tests.conftest import ROLE, administer, make_settings

DATABASE = "test_plans"
ROOT = "/media/lucidlink-1"
JOBS, WORKER, PATHS = (load_queries(name) for name in ("jobs", "worker", "paths"))
FOLDED = "teamcache_gateway_files_folded"
# 1,000 folders, 200 of them with one file, 800 with 124.
FILES = f"""
INSERT INTO files (path, name, parent_path, is_directory, size, metadata)
SELECT parent || '/' || name, name, parent, false, number, '{{"codec": "prores"}}'
FROM generate_series(0, 999) AS folder,
     LATERAL generate_series(1, CASE WHEN folder % 5 = 0 THEN 1 ELSE 124 END) AS number,
     LATERAL (SELECT format('{ROOT}/top_%s/sub_%s', folder / 100, folder) AS parent,
                     format('shot_%s.mov', number) AS name) AS named;
INSERT INTO files (path, name, parent_path, is_directory, size)
SELECT DISTINCT parent_path, regexp_replace(parent_path, '.*/', ''),
       regexp_replace(parent_path, '/[^/]*$', ''), true, 0
FROM files;
"""
PAST_JOBS = """
INSERT INTO cache_jobs (status, file_paths, total_files, created_at)
SELECT (ARRAY['completed', 'failed', 'cancelled'])[1 + n % 3], '{}', 10,
       timestamp '2026-01-01' + n * interval '1 minute'
FROM generate_series(1, 3000) AS n;
INSERT INTO cache_job_items (job_id, file_path, status)
SELECT id, n, 'completed' FROM cache_jobs, generate_series(1, 10) AS n;
INSERT INTO teamcache_gateway.workers (id, expires_at) VALUES ('ours', now() + interval '1 day');
"""
LARGE_JOB = """
ALTER TABLE cache_jobs ALTER file_paths SET STORAGE EXTERNAL;
INSERT INTO cache_jobs (status, file_paths, total_files)
SELECT 'running', array_agg(path ORDER BY id), count(*) FROM files WHERE NOT is_directory
RETURNING id::text
"""
# Near its end: of its 100,000 items 10 are pending, and 5 are in another worker's hands.
LARGE_ITEMS = """
INSERT INTO cache_job_items (job_id, file_path, status, worker_id)
SELECT %(job)s, path,
       CASE WHEN n > total - 10 THEN 'pending' WHEN n > total - 15 THEN 'running'
            ELSE 'completed' END,
       CASE WHEN n > total - 15 AND n <= total - 10 THEN 'ours' END
FROM (SELECT path, row_number() OVER (ORDER BY id) AS n, count(*) OVER () AS total
      FROM files WHERE NOT is_directory) AS numbered
"""

Parameters = Mapping[str, Any]
Node = dict[str, Any]


class Plans:
    """Explains statements in a database, changing nothing."""

    def __init__(self, settings: Settings) -> None:
        self.connection = psycopg2.connect(**connection_arguments(settings))
        self.large_job = ""

    def fill(self) -> None:
        self.connection.autocommit = True
        with self.connection.cursor() as cur:
            cur.execute("SET statement_timeout = 0")
            cur.execute(FILES)
            cur.execute(PAST_JOBS)
            cur.execute(LARGE_JOB)
            self.large_job = cur.fetchone()[0]
            cur.execute(LARGE_ITEMS, {"job": self.large_job})
            for table in ("files", "cache_jobs", "cache_job_items"):
                cur.execute(f"VACUUM ANALYZE {table}")
        self.connection.autocommit = False

    def fetch(self, statement: str) -> list[str]:
        with self.connection.cursor() as cur:
            cur.execute(statement)
            return [row[0] for row in cur.fetchall()]

    def explain(
        self, query: str, parameters: Parameters, *, first: str = "SELECT", run: bool = False
    ) -> list[Node]:
        """The nodes of the plan, top first; ``first`` is executed in the same transaction."""
        options = "ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON" if run else "FORMAT JSON"
        with self.connection.cursor() as cur:
            cur.execute(first, parameters)
            cur.execute(f"EXPLAIN ({options}) {query}", parameters)
            [[answer]] = cur.fetchall()
        self.connection.rollback()
        plan = answer if isinstance(answer, list) else json.loads(answer)
        return list(walk(plan[0]["Plan"]))


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", ()):
        yield from walk(child)


def scanned(nodes: Sequence[Node]) -> set[str]:
    """The tables that are read from one end to the other."""
    return {node["Relation Name"] for node in nodes if "Seq Scan" in node["Node Type"]}


def indexes(nodes: Sequence[Node]) -> set[str]:
    return {node["Index Name"] for node in nodes if "Index Name" in node}


def blocks(nodes: Sequence[Node]) -> int:
    return int(nodes[0]["Shared Hit Blocks"] + nodes[0]["Shared Read Blocks"])


@pytest.fixture(scope="module")
def plans(postgres_server: EmbeddedPostgres) -> Iterator[Plans]:
    administer(postgres_server, "CREATE DATABASE {} OWNER {} TEMPLATE template0", DATABASE, ROLE)
    settings = make_settings(postgres_server, DATABASE)
    asyncio.run(migrate(settings))
    opened = Plans(settings)
    with closing(opened.connection):
        opened.fill()
        yield opened
    administer(postgres_server, "DROP DATABASE {} WITH (FORCE)", DATABASE)


def create_parameters(**given: Sequence[str] | Sequence[int]) -> Parameters:
    names = (
        *("trees", "folders", "paths", "sizes", "maybe_paths", "maybe_sizes"),
        *("file_paths", "directory_paths"),
    )
    arrays = {name: array_literal(given.get(name, ())) for name in names}
    job = {"id": "7d3b3a52-3d3f-4a53-9c07-9c8b6f5e9a10", "submitted_by": "default"}
    return {**job, **arrays}


def small_folders(plans: Plans, count: int) -> list[str]:
    """Folders that together hold less than one per cent of the index."""
    return plans.fetch(
        "SELECT parent_path FROM files WHERE NOT is_directory GROUP BY 1"
        f" HAVING count(*) = 1 ORDER BY 1 LIMIT {count}"
    )


def some_files(plans: Plans, count: int) -> list[str]:
    return plans.fetch(
        f"SELECT path FROM files WHERE NOT is_directory ORDER BY md5(path) LIMIT {count}"
    )


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


def test_the_last_items_of_a_large_job_are_claimed_without_reading_the_others(
    plans: Plans,
) -> None:
    parameters = {"job": plans.large_job, "worker": "ours", "limit": 200}
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
    all_pending = "UPDATE cache_job_items SET status = 'pending' WHERE job_id = %(job)s"
    parameters = {"job": plans.large_job, "worker": "ours", "limit": 200}
    nodes = plans.explain(WORKER["claim"], parameters, first=all_pending)
    assert "teamcache_gateway_cache_job_items_state" in indexes(nodes)
    assert "cache_job_items" not in scanned(nodes)


def test_a_claim_in_the_middle_of_a_large_job_does_not_pass_by_what_is_done(plans: Plans) -> None:
    # As statistics see a job that is half done: behind it lie all older jobs' items too.
    half_done = (
        "UPDATE cache_job_items SET status = 'pending' WHERE job_id = %(job)s AND id > 80000;"
        " ANALYZE cache_job_items"
    )
    parameters = {"job": plans.large_job, "worker": "ours", "limit": 200}
    nodes = plans.explain(WORKER["claim"], parameters, first=half_done, run=True)
    [found] = [
        node
        for node in nodes
        if node.get("Alias") == "i"
        and "Index" in node["Node Type"]
        and node.get("Index Name") == "teamcache_gateway_cache_job_items_state"
    ]
    assert found["Actual Rows"] == 200
    assert blocks(nodes) < 8000


@pytest.mark.parametrize("status", [None, "running", "completed"])
def test_a_list_of_jobs_reads_as_many_rows_as_it_shows_and_no_paths(
    plans: Plans, status: str | None
) -> None:
    nodes = plans.explain(JOBS["list"], {"status": status, "limit": 50, "offset": 0}, run=True)
    assert scanned(nodes) == set()
    # The paths of the large job alone fill more.
    assert blocks(nodes) < 60
    assert paths_blocks(plans) > 100


def test_a_job_is_read_without_its_paths(plans: Plans) -> None:
    for name in ("get", "status"):
        nodes = plans.explain(JOBS[name], {"id": plans.large_job}, run=True)
        assert indexes(nodes) == {"cache_jobs_pkey"}
        assert blocks(nodes) < 10


def test_a_change_of_a_large_job_does_not_read_its_paths(plans: Plans) -> None:
    """The triggers' conditions name their columns."""
    parameters = {"id": plans.large_job}
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
    assert "cache_job_items" not in scanned(nodes)
    [looked_up] = [n for n in nodes if n.get("Relation Name") == "cache_job_items"]
    assert looked_up["Actual Loops"] == 1000
    assert looked_up["Actual Rows"] == 0


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("active_jobs", {"limit": 64}),
        ("lock_own_lease", {"worker": "ours"}),
        ("renew_lease", {"worker": "ours", "lease": 30}),
        ("lock_expired_leases", {"worker": "new", "everybody": True}),
        ("give_back", {"workers": ["ours", "theirs"], "known": "{}"}),
        ("give_back", {"workers": ["ours"], "known": array_literal(range(1, 500))}),
        ("end_leases", {"workers": ["ours"]}),
        ("active_jobs", {"limit": 64}),
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


def test_a_report_touches_the_reported_items_alone(plans: Plans) -> None:
    items = list(range(30_001, 30_501))
    parameters = {
        "job": plans.large_job,
        "worker": "ours",
        "items": array_literal(items),
        "states": array_literal(["failed"] * 500),
        "errors": array_literal(["gone"] * 500),
        "marks": array_literal([1] * 500),
    }
    running = (
        "UPDATE cache_job_items SET status = 'running', worker_id = 'ours'"
        " WHERE id BETWEEN 30001 AND 30500"
    )
    nodes = plans.explain(WORKER["report"], parameters, first=running, run=True)
    assert scanned(nodes) == set()


@pytest.mark.parametrize("count", [1, 100, 500])
def test_read_files_are_marked_through_an_index(plans: Plans, count: int) -> None:
    parameters = {"paths": array_literal(some_files(plans, count)), "job": plans.large_job}
    assert scanned(plans.explain(WORKER["mark_cached"], parameters)) == set()


def test_whole_directories_are_marked_through_indexes(plans: Plans) -> None:
    parameters = {"paths": small_folders(plans, 100), "job": plans.large_job}
    assert scanned(plans.explain(WORKER["mark_cached_directories"], parameters)) == set()
    [small_job] = plans.fetch("SELECT id::text FROM cache_jobs WHERE total_files = 10 LIMIT 1")
    for name in ("parents_of_read_files", "unmarked_files"):
        nodes = plans.explain(WORKER[name], {"job": small_job, "limit": 10_000})
        assert scanned(nodes) == set()


def test_the_first_failed_file_of_a_large_job_is_looked_up_by_the_index_of_states(
    plans: Plans,
) -> None:
    failed = "UPDATE cache_job_items SET status = 'failed' WHERE job_id = %(job)s AND id % 1000 = 7"
    nodes = plans.explain(
        WORKER["end_exhausted_job"], {"job": plans.large_job}, first=failed.replace(" % ", " %% ")
    )
    assert "teamcache_gateway_cache_job_items_state" in indexes(nodes)


@pytest.mark.parametrize("quiet", [0, 600])
def test_jobs_that_did_not_notice_their_end_are_found_without_reading_the_items_of_others(
    plans: Plans, quiet: int
) -> None:
    nodes = plans.explain(WORKER["exhausted_jobs"], {"quiet": quiet, "limit": 256}, run=True)
    assert scanned(nodes) == set()
