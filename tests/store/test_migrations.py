"""The schema on empty databases and on TeamCache Manager's own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.database import Database
from gateway.database.migrations import migrate, pending_statements
from gateway.errors import DatabaseUnavailable
from gateway.jobs.store import JobRequest, JobStore
from gateway.settings import Settings
from gateway.standalone.postgres import SUPERUSER
from support.manager_schema import (
    FILE,
    make_manager_database,
    read_rows,
    read_schema,
    run_as,
)
from support.manager_use import is_up_to_date, step_titles, use_gateway


async def test_an_empty_database_gets_everything_and_a_second_run_does_nothing(
    empty_database: Settings,
) -> None:
    assert await migrate(empty_database) == step_titles()
    assert await is_up_to_date(empty_database)


async def test_five_gateways_starting_at_once_migrate_once(empty_database: Settings) -> None:
    async with asyncio.timeout(60):
        results = await asyncio.gather(*(migrate(empty_database) for _ in range(5)))
    assert sorted(results)[-1] == step_titles()
    assert [r for r in results if r] == [step_titles()]


async def test_a_migration_that_was_interrupted_goes_on_where_it_stopped(
    empty_database: Settings,
) -> None:
    await migrate(empty_database)
    run_as(
        empty_database,
        SUPERUSER,
        "DELETE FROM teamcache_gateway.migrations WHERE name >= '0003'",
        "ALTER TABLE cache_jobs DROP COLUMN failed_size_bytes",
    )
    assert await migrate(empty_database) == ["column cache_jobs.failed_size_bytes"]
    assert await is_up_to_date(empty_database)


async def test_what_an_upgrade_of_the_manager_made_anew_gets_back_what_we_had_added(
    empty_database: Settings,
) -> None:
    role = empty_database.db_user
    make_manager_database(empty_database, owner=role, with_sizes=True)
    await migrate(empty_database)
    run_as(
        empty_database,
        role,
        "CREATE TABLE anew (LIKE cache_jobs INCLUDING DEFAULTS)",
        "ALTER TABLE anew DROP COLUMN failed_size_bytes, ADD PRIMARY KEY (id)",
        "DROP VIEW pending_cache_jobs",
        "ALTER TABLE cache_job_items DROP CONSTRAINT cache_job_items_job_id_fkey",
        "DROP TABLE cache_jobs",
        "ALTER TABLE anew RENAME TO cache_jobs",
    )
    recorded = read_rows(empty_database, "teamcache_gateway.migrations", "name, applied_at")
    statements = await pending_statements(empty_database, role)
    assert await migrate(empty_database) == [
        "view pending_cache_jobs",
        "column cache_jobs.failed_size_bytes",
        "index teamcache_gateway_cache_jobs_created",
        "index teamcache_gateway_cache_jobs_active",
        "trigger teamcache_gateway_keep_cancelled",
        "trigger teamcache_gateway_notify_insert",
        "trigger teamcache_gateway_notify_update",
        "index teamcache_gateway_cache_jobs_submitted_by",
        "index teamcache_gateway_cache_jobs_cancelled",
    ]
    assert "INSERT INTO teamcache_gateway.migrations" not in "".join(statements)
    assert recorded == read_rows(empty_database, "teamcache_gateway.migrations", "name, applied_at")
    assert await is_up_to_date(empty_database)


async def test_the_first_start_counts_what_it_made_in_one_line(
    empty_database: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await migrate(empty_database)
    assert [r.getMessage() for r in caplog.records] == [f"migrated: {len(step_titles())} steps"]
    await migrate(empty_database)
    assert len(caplog.records) == 1


async def test_an_owner_who_reads_a_drop_is_told_what_it_drops(empty_database: Settings) -> None:
    statements = await pending_statements(empty_database, empty_database.db_user)
    drops = [statement for statement in statements if "DROP" in statement]
    assert len(drops) == 15
    assert all("\n-- Drops only our own index" in statement for statement in drops)


@pytest.mark.parametrize("with_sizes", [True, False])
async def test_the_managers_tables_are_only_added_to(
    empty_database: Settings, with_sizes: bool
) -> None:
    role = empty_database.db_user
    make_manager_database(empty_database, owner=role, with_sizes=with_sizes)
    schema = read_schema(empty_database)
    jobs = "id, status, file_paths, total_files, completed_files, created_at"
    rows = [
        (table, columns, read_rows(empty_database, table, columns))
        for table, columns in (
            ("files", "*"),
            ("cache_jobs", jobs),
            ("cache_job_items", "id, job_id, file_path, status"),
            ("pending_cache_jobs", "*"),
        )
    ]
    ran = await migrate(empty_database)

    assert schema <= read_schema(empty_database)
    for table, columns, before in rows:
        assert read_rows(empty_database, table, columns) == before
    assert ("column cache_jobs.total_size_bytes" in ran) is not with_sizes
    assert not [title for title in ran if title.startswith(("table files", "table cache_", "view"))]
    # The manager indexed the items by job itself.
    assert "index teamcache_gateway_cache_job_items_job" not in ran
    assert await is_up_to_date(empty_database)
    await use_gateway(empty_database)


async def test_what_the_manager_inserts_afterwards_lacks_nothing(
    empty_database: Settings,
) -> None:
    make_manager_database(empty_database, owner=empty_database.db_user, with_sizes=False)
    await migrate(empty_database)
    [row] = run_as(
        empty_database,
        empty_database.db_user,
        "INSERT INTO cache_jobs (file_paths, total_files) VALUES ('{}', 0)"
        " RETURNING total_size_bytes, completed_size_bytes, failed_size_bytes",
    )
    assert row == (0, 0, 0)


async def test_the_printed_statements_make_an_empty_database_complete(
    empty_database: Settings,
) -> None:
    statements = await pending_statements(empty_database, empty_database.db_user)
    assert run_as(empty_database, SUPERUSER, "SELECT to_regclass('files')") == [(None,)]
    run_as(empty_database, empty_database.db_user, *statements)
    assert await is_up_to_date(empty_database)


async def test_the_printed_statements_can_be_piped_into_psql(
    empty_database: Settings, postgres_bin: Path | None
) -> None:
    from gateway.standalone.postgres.binaries import find_binaries

    psql = find_binaries(postgres_bin, None).postgres.with_name("psql")
    statements = await pending_statements(empty_database, empty_database.db_user)
    process = await asyncio.create_subprocess_exec(
        psql,
        *("-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", empty_database.db_host),
        *("-p", str(empty_database.db_port), "-U", empty_database.db_user),
        empty_database.db_name,
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate("\n".join(statements).encode())
    assert process.returncode == 0, errors.decode()
    assert await is_up_to_date(empty_database)


async def test_times_are_utc_wherever_the_server_thinks_it_is(
    empty_database: Settings,
) -> None:
    name = empty_database.db_name
    run_as(empty_database, SUPERUSER, f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
    await migrate(empty_database)
    fresh = "abs(extract(epoch FROM created_at - (clock_timestamp() AT TIME ZONE 'UTC'))) < 60"
    [by_default] = run_as(
        empty_database,
        empty_database.db_user,
        f"INSERT INTO cache_jobs (file_paths) VALUES ('{{}}') RETURNING {fresh}",
    )
    assert by_default == (True,)
    async with Database(empty_database) as database:
        job = await JobStore(database, 60).create(JobRequest(paths=[FILE], sizes=[1]))
        [ours] = run_as(
            empty_database, SUPERUSER, f"SELECT {fresh} FROM cache_jobs WHERE id = '{job.id}'"
        )
        assert ours == (True,)
        [shown] = await database.fetch("SELECT current_setting('timezone') AS zone")
        assert shown.zone == "UTC"


async def test_a_server_that_is_away_is_told_apart_from_a_wrong_schema(public_folder: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        await migrate(Settings(db_host=str(public_folder)))
