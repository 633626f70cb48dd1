"""The schema on empty databases, beside TeamCache Manager's tables, and where we own nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway import migrations
from gateway.database import Database, LockTimeout
from gateway.embedded_postgres import SUPERUSER
from gateway.errors import DatabaseUnavailable, MigrationRequired, SettingsError
from gateway.job_store import JobRequest, JobStore
from gateway.jobs import JobStatus
from gateway.migrations import migrate, pending_statements
from gateway.settings import Settings
from gateway.sql import load_migrations
from tests.manager_schema import (
    FILE,
    JOB_ID,
    OWNER,
    as_owner,
    connect_as,
    grant_tables,
    make_manager_database,
    read_rows,
    read_schema,
    run_as,
)

PREFIX_INDEX = "teamcache_gateway_files_path_prefix"
SOMEBODY_WAITS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'teamcache-gateway' AND wait_event_type = 'Lock'
"""


def step_titles() -> list[str]:
    return [step.title for migration in load_migrations() for step in migration.steps]


async def is_up_to_date(settings: Settings) -> bool:
    return not await migrate(settings) and not await pending_statements(settings, settings.db_user)


async def use_gateway(settings: Settings) -> None:
    """Create a job and cancel it, as requests do."""
    async with Database(settings) as database:
        store = JobStore(database, 60)
        job = await store.create(
            JobRequest(listed_files=[FILE], paths=[FILE], sizes=[100], folders=["/media"])
        )
        await store.cancel(job.id)
        assert await store.cancel_items(job.id) == 1
        assert (await store.get(job.id)).status is JobStatus.CANCELLED
        assert (await store.get(JOB_ID)).progress.total_files == 1


async def until_somebody_waits(settings: Settings) -> None:
    for _ in range(1000):
        if run_as(settings, SUPERUSER, SOMEBODY_WAITS)[0][0]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waited for a lock")


async def until_polled(settings: Settings) -> None:
    for _ in range(1000):
        rows = run_as(
            settings,
            SUPERUSER,
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_try_advisory_lock%'"
            " AND application_name = 'teamcache-gateway' AND state = 'idle'"
            f" AND datname = '{settings.db_name}'",
        )
        if rows[0][0]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the second gateway never asked for the lock")


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[asyncio.Task[Any]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


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


@pytest.mark.parametrize("with_sizes", [True, False])
async def test_a_guest_names_every_statement_and_has_changed_nothing(
    empty_database: Settings, with_sizes: bool
) -> None:
    make_manager_database(empty_database, with_sizes=with_sizes)
    grant_tables(empty_database)
    # It may even create schemas: nothing is begun that it cannot end.
    run_as(
        empty_database,
        SUPERUSER,
        f"GRANT CREATE ON DATABASE {empty_database.db_name} TO {empty_database.db_user}",
    )
    schema = read_schema(empty_database)
    with pytest.raises(MigrationRequired) as caught:
        await migrate(empty_database)

    assert f"belongs to the role {OWNER}" in caught.value.message
    assert read_schema(empty_database) == schema
    [nothing] = run_as(empty_database, SUPERUSER, "SELECT to_regnamespace('teamcache_gateway')")
    assert nothing == (None,)

    run_as(empty_database, OWNER, *caught.value.statements)
    assert await is_up_to_date(empty_database)
    assert schema <= read_schema(empty_database)
    await use_gateway(empty_database)


async def test_a_role_that_may_do_nothing_gets_the_grants_too(empty_database: Settings) -> None:
    make_manager_database(empty_database, with_sizes=False)
    with pytest.raises(MigrationRequired) as caught:
        await migrate(empty_database)
    role = empty_database.db_user
    statements = caught.value.statements
    assert f"GRANT SELECT, INSERT, UPDATE, DELETE ON files TO {role};" in statements
    assert any(s.startswith("GRANT USAGE ON SEQUENCE") for s in statements)
    run_as(empty_database, OWNER, *statements)
    assert await is_up_to_date(empty_database)
    await use_gateway(empty_database)


async def test_an_owner_who_forgot_the_grants_is_reminded(empty_database: Settings) -> None:
    make_manager_database(empty_database, with_sizes=True)
    owner = as_owner(empty_database)
    await migrate(owner)
    with pytest.raises(MigrationRequired) as caught:
        await migrate(empty_database)
    assert f'"{empty_database.db_user}" lacks rights' in caught.value.message
    assert all(s.startswith("GRANT ") for s in caught.value.statements)
    assert list(caught.value.statements) == await pending_statements(owner, empty_database.db_user)
    run_as(empty_database, OWNER, *caught.value.statements)
    assert await is_up_to_date(empty_database)
    await use_gateway(empty_database)


@pytest.mark.parametrize(
    ("right", "grant"),
    [
        ("UPDATE ON cache_jobs", "GRANT SELECT, INSERT, UPDATE ON cache_jobs"),
        ("DELETE ON files", "GRANT SELECT, INSERT, UPDATE, DELETE ON files"),
        ("USAGE ON SCHEMA teamcache_gateway", "GRANT USAGE ON SCHEMA teamcache_gateway"),
        ("SELECT ON teamcache_gateway.migrations", "GRANT SELECT ON teamcache_gateway.migrations"),
        ("USAGE ON SEQUENCE cache_job_items_id_seq", "GRANT USAGE ON SEQUENCE"),
    ],
)
async def test_each_missing_grant_is_named(
    empty_database: Settings, right: str, grant: str
) -> None:
    make_manager_database(empty_database, with_sizes=True)
    role = empty_database.db_user
    statements = await pending_statements(as_owner(empty_database), role)
    run_as(empty_database, OWNER, *statements)
    assert await migrate(empty_database) == []
    run_as(empty_database, OWNER, f"REVOKE {right} FROM {role}")
    with pytest.raises(MigrationRequired) as caught:
        await migrate(empty_database)
    [statement] = caught.value.statements
    assert statement.startswith(grant)
    run_as(empty_database, OWNER, statement)
    assert await migrate(empty_database) == []


async def test_statements_for_a_role_that_does_not_exist_are_refused(
    empty_database: Settings,
) -> None:
    with pytest.raises(SettingsError, match='no role "nobody_here"'):
        await pending_statements(empty_database, "nobody_here")


async def test_the_backends_own_role_still_works_on_the_tables(empty_database: Settings) -> None:
    make_manager_database(empty_database, with_sizes=True)
    owner = as_owner(empty_database)
    run_as(empty_database, OWNER, *await pending_statements(owner, empty_database.db_user))
    backend = "teamcache_backend"
    run_as(
        empty_database,
        SUPERUSER,
        f"""DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{backend}') THEN
                CREATE ROLE {backend};
            END IF;
        END $$""",
        f"GRANT SELECT, INSERT, UPDATE ON cache_jobs TO {backend}",
    )
    # It has no right on our schema, where the triggers' functions are.
    rows = run_as(
        empty_database,
        backend,
        f"UPDATE cache_jobs SET status = 'running' WHERE id = '{JOB_ID}' RETURNING status",
    )
    assert rows == [("running",)]


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
    from gateway.embedded_postgres.binaries import find_binaries

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


async def test_an_invalid_index_left_behind_is_made_again(empty_database: Settings) -> None:
    await migrate(empty_database)
    run_as(
        empty_database,
        SUPERUSER,
        f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{PREFIX_INDEX}'::regclass",
        "DELETE FROM teamcache_gateway.migrations WHERE name LIKE '0004%'",
    )
    assert await migrate(empty_database) == [f"index {PREFIX_INDEX}"]
    [valid] = run_as(
        empty_database,
        SUPERUSER,
        f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{PREFIX_INDEX}'::regclass",
    )
    assert valid == (True,)


async def test_a_lock_on_a_table_delays_an_alter_and_does_not_fail_it(
    empty_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_manager_database(empty_database, owner=empty_database.db_user, with_sizes=False)
    monkeypatch.setattr(migrations, "LOCK_SECONDS", 1)
    with closing(connect_as(empty_database, SUPERUSER)) as busy:
        busy.autocommit = False
        busy.cursor().execute("LOCK TABLE cache_jobs IN ROW EXCLUSIVE MODE")
        async with running(migrate(empty_database)) as migration:
            await until_somebody_waits(empty_database)
            # Whoever reads the table queues behind the waiting ALTER: only for so long.
            rows = await asyncio.to_thread(
                run_as, empty_database, SUPERUSER, "SELECT count(*) FROM cache_jobs"
            )
            assert rows == [(1,)]
            busy.rollback()
            assert "column cache_jobs.total_size_bytes" in await migration
    assert await is_up_to_date(empty_database)


async def test_a_table_that_stays_locked_ends_the_migration_in_bounded_time(
    empty_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_manager_database(empty_database, owner=empty_database.db_user, with_sizes=False)
    monkeypatch.setattr(migrations, "LOCK_SECONDS", 1)
    monkeypatch.setattr(migrations, "LOCK_ATTEMPTS", 2)
    with closing(connect_as(empty_database, SUPERUSER)) as busy:
        busy.autocommit = False
        busy.cursor().execute("LOCK TABLE cache_jobs IN ROW EXCLUSIVE MODE")
        with pytest.raises(LockTimeout, match=r"column cache_jobs\.total_size_bytes"):
            await migrate(empty_database)
    assert "column cache_jobs.total_size_bytes" in await migrate(empty_database)


async def test_an_old_transaction_that_outlasts_the_patience_of_an_index_leaves_no_ruin(
    empty_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_manager_database(empty_database, owner=empty_database.db_user, with_sizes=True)
    monkeypatch.setattr(migrations, "CONCURRENT_LOCK_SECONDS", 1)
    ruin = (
        "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
        f" AND indexrelid = to_regclass('{PREFIX_INDEX}')"
    )
    with closing(connect_as(empty_database, SUPERUSER)) as busy:
        busy.autocommit = False
        busy.cursor().execute("INSERT INTO files (path, name) VALUES ('/media/x', 'x')")
        async with running(migrate(empty_database)) as migration:
            for _ in range(3):  # it fails by its lock timeout, and begins again
                await until_somebody_waits(empty_database)
                await asyncio.to_thread(run_as, empty_database, SUPERUSER, "SELECT pg_sleep(0.7)")
            assert run_as(empty_database, SUPERUSER, ruin) == [(1,)]
            busy.commit()
            assert f"index {PREFIX_INDEX}" in await migration
    assert run_as(empty_database, SUPERUSER, ruin) == [(0,)]
    assert await is_up_to_date(empty_database)


async def test_a_second_gateway_waits_while_the_first_builds_an_index(
    empty_database: Settings,
) -> None:
    make_manager_database(empty_database, owner=empty_database.db_user, with_sizes=True)
    with closing(connect_as(empty_database, SUPERUSER)) as busy:
        busy.autocommit = False
        busy.cursor().execute("INSERT INTO files (path, name) VALUES ('/media/x', 'x')")
        async with running(migrate(empty_database)) as first:
            await until_somebody_waits(empty_database)
            async with running(migrate(empty_database)) as second:
                await until_polled(empty_database)
                busy.commit()
                async with asyncio.timeout(30):
                    assert f"index {PREFIX_INDEX}" in await first
                    assert await second == []


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
