"""An index of 100,000 files and a job of all of them, on which statements are explained."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from gateway.database import connection_arguments
from gateway.database.migrations import migrate
from gateway.database.sql import load_queries
from gateway.settings import Settings
from gateway.standalone.postgres import EmbeddedPostgres
from support.database import ROLE, administer, make_settings

DATABASE = "test_plans"
ROOT = "/media/lucidlink-1"
JOBS, PLANNER, PATHS = map(load_queries, ("jobs", "planner", "paths"))
WORKER = {**load_queries("worker"), **load_queries("cached_flags")}
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
# Of any items.
CLAIM = {"items": None}
ALL_PENDING = "UPDATE cache_job_items SET status = 'pending' WHERE job_id = %(job)s"
# A job that is younger than all statistics.
YOUNG_JOB = """
INSERT INTO cache_jobs (id, status, file_paths) VALUES (%(job)s, 'running', '{}');
INSERT INTO cache_job_items (job_id, file_path, status)
SELECT %(job)s, n, CASE WHEN n < 10 THEN 'failed' ELSE 'pending' END
FROM generate_series(1, 100000) AS n;
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
