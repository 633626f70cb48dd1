"""Rows of the index and of jobs, written and read by tests."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import PurePosixPath
from typing import Any

import psycopg2
from psycopg2.extras import NamedTupleCursor, execute_values

from gateway.database import connection_arguments
from gateway.settings import Settings

INSERT_ROWS = """
INSERT INTO files (path, name, parent_path, is_directory, size) VALUES %s ON CONFLICT DO NOTHING
"""


def run(settings: Settings, statement: str, *parameters: Any) -> list[Any]:
    """Run one statement, commit, and return its rows as named tuples."""
    with (
        closing(psycopg2.connect(**connection_arguments(settings))) as connection,
        connection,
        connection.cursor(cursor_factory=NamedTupleCursor) as cursor,
    ):
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def add_files(settings: Settings, sizes: Mapping[str, int] | Iterable[str]) -> None:
    """Index files, named relative to the mount point, and the directories that hold them."""
    sizes = sizes if isinstance(sizes, Mapping) else dict.fromkeys(sizes, 1000)
    mount = PurePosixPath(settings.container_mount_point)
    files = {mount / name: size for name, size in sizes.items()}
    folders = {
        parent for path in files for parent in path.parents if parent.is_relative_to(mount)
    } - {mount}
    rows = [_row(path, False, size) for path, size in files.items()]
    _insert(settings, rows + [_row(path, True, None) for path in folders])


def add_folder(settings: Settings, name: str) -> None:
    """Index a directory in which nothing is."""
    path = PurePosixPath(settings.container_mount_point) / name
    _insert(settings, [_row(path, True, None)])


def job_rows(settings: Settings, job_id: str) -> list[Any]:
    """The items of a job: path below the mount point, status, size; by path."""
    return run(
        settings,
        """
        SELECT substr(file_path, %s) AS path, status, file_size_bytes AS size
        FROM cache_job_items WHERE job_id = %s::uuid ORDER BY file_path COLLATE "C"
        """,
        len(settings.container_mount_point) + 2,
        job_id,
    )


def count_rows(settings: Settings) -> tuple[int, int]:
    """How many jobs and how many items there are."""
    (row,) = run(
        settings,
        "SELECT (SELECT count(*) FROM cache_jobs) AS jobs,"
        " (SELECT count(*) FROM cache_job_items) AS items",
    )
    return row.jobs, row.items


def _row(path: PurePosixPath, is_directory: bool, size: int | None) -> tuple[Any, ...]:
    return str(path), path.name, str(path.parent), is_directory, size


def _insert(settings: Settings, rows: list[tuple[Any, ...]]) -> None:
    with (
        closing(psycopg2.connect(**connection_arguments(settings))) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        execute_values(cursor, INSERT_ROWS, rows)


def change_job(settings: Settings, job_id: str, **columns: Any) -> None:
    """Write a job as a worker would."""
    assignments = ", ".join(f"{column} = %s" for column in columns)
    statement = f"UPDATE cache_jobs SET {assignments} WHERE id = %s::uuid"
    run(settings, statement, *columns.values(), job_id)


def make_job(settings: Settings, **columns: Any) -> str:
    """Insert a job of one file, as somebody else would."""
    columns = {"id": str(uuid.uuid4()), "file_paths": ["/x"], "total_files": 1} | columns
    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
    statement = f"INSERT INTO cache_jobs ({names}) VALUES ({places}) RETURNING id::text AS id"
    (row,) = run(settings, statement, *columns.values())
    identifier: str = row.id
    return identifier


UNKNOWN_ID = "6bb4629b-1487-477c-96fe-b762d82a099b"

MOUNT = "/media/lucidlink-1"


def add_item(settings: Settings, job_id: str, path: str, **columns: Any) -> None:
    """Insert an item, as a worker would leave it."""
    columns = {"job_id": job_id, "file_path": f"{MOUNT}/{path}"} | columns
    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
    run(settings, f"INSERT INTO cache_job_items ({names}) VALUES ({places})", *columns.values())
