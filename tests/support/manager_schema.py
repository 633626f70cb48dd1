"""The tables of TeamCache Manager, as it makes them: another role owns them, we are a guest."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
from psycopg2 import sql

from gateway.settings import Settings
from gateway.standalone.postgres import SUPERUSER

OWNER = "teamcache_manager"
JOB_ID = "0b8c2f5e-4a7d-4e0e-9a53-3c1f0d9b7a11"
FILE = "/media/lucidlink-1/00_Media/a.mov"

TABLES = """
CREATE TABLE files (
    id bigserial PRIMARY KEY,
    path text NOT NULL UNIQUE,
    name text NOT NULL,
    parent_path text,
    is_directory boolean DEFAULT false,
    size bigint,
    modified_at timestamp,
    permissions int,
    cached boolean DEFAULT false,
    cached_at timestamp,
    cache_job_id uuid,
    indexed_at timestamp DEFAULT now(),
    updated_at timestamp DEFAULT now(),
    last_seen_session_id int,
    metadata jsonb
);
CREATE TABLE cache_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'completed', 'failed', 'paused', 'cancelled')),
    file_paths text[] NOT NULL,
    directory_paths text[],
    total_files int,
    completed_files int DEFAULT 0,
    failed_files int DEFAULT 0,
    worker_id text,
    created_at timestamp DEFAULT now(),
    started_at timestamp,
    completed_at timestamp,
    error_message text
);
CREATE TABLE cache_job_items (
    id bigserial PRIMARY KEY,
    job_id uuid NOT NULL REFERENCES cache_jobs (id) ON DELETE CASCADE,
    file_path text NOT NULL,
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    started_at timestamp,
    completed_at timestamp,
    error_message text,
    worker_id text
);
CREATE INDEX idx_cache_job_items_job_id ON cache_job_items (job_id);
CREATE VIEW pending_cache_jobs AS
    SELECT id, status, file_paths, total_files, created_at FROM cache_jobs
    WHERE status = 'pending' ORDER BY created_at;
"""
SIZES = """
ALTER TABLE cache_jobs ADD COLUMN total_size_bytes bigint DEFAULT 0;
ALTER TABLE cache_jobs ADD COLUMN completed_size_bytes bigint DEFAULT 0;
ALTER TABLE cache_job_items ADD COLUMN file_size_bytes bigint DEFAULT 0;
"""
ROWS = f"""
INSERT INTO files (path, name, parent_path, is_directory, size) VALUES
    ('/media/lucidlink-1/00_Media', '00_Media', '/media/lucidlink-1', true, 0),
    ('{FILE}', 'a.mov', '/media/lucidlink-1/00_Media', false, 100),
    ('/media/lucidlink-1/00_Media/b.mov', 'b.mov', '/media/lucidlink-1/00_Media', NULL, NULL);
INSERT INTO cache_jobs (id, status, file_paths, total_files, completed_files)
VALUES ('{JOB_ID}', 'pending', ARRAY['{FILE}'], 1, NULL);
INSERT INTO cache_job_items (job_id, file_path) VALUES ('{JOB_ID}', '{FILE}');
"""
SCHEMA_FACTS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relname IN ('files', 'cache_jobs', 'cache_job_items', 'pending_cache_jobs')
"""


def connect_as(settings: Settings, role: str) -> Any:
    """A psycopg2 connection to the same database as another role, in autocommit."""
    connection = psycopg2.connect(
        host=settings.db_host, port=settings.db_port, dbname=settings.db_name, user=SUPERUSER
    )
    connection.autocommit = True
    with connection.cursor() as cur:
        cur.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    return connection


def run_as(settings: Settings, role: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements as a role, each in a transaction of its own; rows of the last one."""
    with closing(connect_as(settings, role)) as connection, connection.cursor() as cur:
        for statement in statements:
            cur.execute(statement)
        return cur.fetchall() if cur.description else []


def make_manager_database(settings: Settings, *, owner: str = OWNER, with_sizes: bool) -> None:
    """Fill an empty database as TeamCache Manager does; ``owner`` owns it and all in it."""
    name = settings.db_name
    run_as(
        settings,
        SUPERUSER,
        f"""DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{owner}') THEN
                CREATE ROLE {owner} LOGIN;
            END IF;
        END $$""",
        f"ALTER DATABASE {name} OWNER TO {owner}",
        f"ALTER SCHEMA public OWNER TO {owner}",
    )
    run_as(settings, owner, TABLES, SIZES if with_sizes else "SELECT", ROWS)


def grant_tables(settings: Settings) -> None:
    """What an administrator gives a guest: to read and write the tables, nothing more."""
    run_as(
        settings,
        OWNER,
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON files TO {settings.db_user}",
        f"GRANT SELECT, INSERT, UPDATE ON cache_jobs, cache_job_items TO {settings.db_user}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {settings.db_user}",
    )


def as_owner(settings: Settings) -> Settings:
    """Settings whose sessions act as the owner, who cannot log in to the tests' server itself."""
    run_as(
        settings,
        SUPERUSER,
        f"ALTER ROLE {SUPERUSER} IN DATABASE {settings.db_name} SET role = '{OWNER}'",
    )
    return settings.model_copy(update={"db_user": SUPERUSER})


def read_schema(settings: Settings) -> set[tuple[Any, ...]]:
    """Every column of the manager's tables and view with its type, nullness and default."""
    return set(run_as(settings, SUPERUSER, SCHEMA_FACTS))


def read_rows(settings: Settings, table: str, columns: str) -> list[tuple[Any, ...]]:
    return run_as(settings, SUPERUSER, f"SELECT {columns} FROM {table} ORDER BY 1")
