"""What one test leaves in its database never reaches the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from gateway.settings import Settings
from gateway.standalone.postgres import EmbeddedPostgres
from support.database import ROLE, administer
from support.index_rows import add_files, make_job, run
from support.reused_databases import ReusedDatabases


@pytest.fixture
def databases(
    postgres_server: EmbeddedPostgres, template_database: str, database_names: Iterator[str]
) -> ReusedDatabases:
    return ReusedDatabases(postgres_server, template_database, database_names)


def count(settings: Settings, table: str) -> int:
    return int(run(settings, f"SELECT count(*) FROM {table}")[0][0])


def test_rows_are_gone_and_ids_begin_at_one_again(databases: ReusedDatabases) -> None:
    with databases.one() as first:
        add_files(first, {"a.mov": 1})
        make_job(first)
        run(first, "ANALYZE")
    with databases.one() as second:
        assert second.db_name == first.db_name
        assert not any(count(second, table) for table in ("files", "cache_jobs"))
        add_files(second, {"b.mov": 1})
        assert run(second, "SELECT id FROM files") == [(1,)]
        assert run(second, "SELECT count(*) FROM pg_stats WHERE tablename = 'files'") == [(0,)]


def test_an_id_that_a_refused_row_took_is_given_again(databases: ReusedDatabases) -> None:
    with databases.one() as first, pytest.raises(psycopg2.errors.NotNullViolation):
        run(first, "INSERT INTO files (path) VALUES (NULL)")
    with databases.one() as second:
        assert second.db_name == first.db_name
        add_files(second, {"b.mov": 1})
        assert run(second, "SELECT id FROM files") == [(1,)]


def test_what_is_written_when_the_test_has_ended_is_gone(databases: ReusedDatabases) -> None:
    """An application may end after the lease of its database."""
    with databases.one() as first:
        pass
    make_job(first)
    with databases.one() as second:
        assert second.db_name == first.db_name
        assert count(second, "cache_jobs") == 0


def test_a_setting_of_the_role_does_not_outlive_its_test(databases: ReusedDatabases) -> None:
    with databases.one() as first:
        run(first, f"ALTER ROLE {ROLE} SET lock_timeout = '100ms'")
    with databases.one() as second:
        assert run(second, "SHOW lock_timeout") == [("0",)]


def test_the_record_of_the_migrations_stays(databases: ReusedDatabases) -> None:
    with databases.one() as first:
        applied = count(first, "teamcache_gateway.migrations")
    with databases.one() as second:
        assert count(second, "teamcache_gateway.migrations") == applied > 0


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE files ADD COLUMN colour text",
        "DROP INDEX teamcache_gateway_files_path_prefix",
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE cache_jobs DISABLE TRIGGER USER",
        "CREATE VIEW paths AS SELECT path FROM files",
        "CREATE SCHEMA elsewhere",
        "GRANT SELECT ON files TO PUBLIC",
        "CREATE TRIGGER lost BEFORE UPDATE ON files"
        " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        f"ALTER ROLE {ROLE} IN DATABASE {{}} SET work_mem = '1MB'",
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        "DELETE FROM teamcache_gateway.migrations",
    ],
)
def test_a_database_that_was_changed_is_not_used_again(
    databases: ReusedDatabases, statement: str
) -> None:
    with databases.one() as first:
        run(first, statement.format(first.db_name))
    with databases.one() as second:
        assert second.db_name != first.db_name
        assert count(second, "teamcache_gateway.migrations") > 0


def test_connections_that_are_left_open_are_ended(databases: ReusedDatabases) -> None:
    with databases.one() as first:
        left = psycopg2.connect(
            host=first.db_host, port=first.db_port, dbname=first.db_name, user=first.db_user
        )
        cur = left.cursor()
        cur.execute("LISTEN anything; INSERT INTO cache_jobs (file_paths) VALUES ('{}')")
    with closing(left), databases.one() as second:
        assert second.db_name == first.db_name
        assert count(second, "cache_jobs") == 0
        with pytest.raises(psycopg2.OperationalError):
            cur.execute("SELECT 1")


def test_a_database_that_is_gone_is_replaced(
    databases: ReusedDatabases, postgres_server: EmbeddedPostgres
) -> None:
    with databases.one() as first:
        administer(postgres_server, "DROP DATABASE {} WITH (FORCE)", first.db_name)
    with databases.one() as second:
        assert count(second, "files") == 0
