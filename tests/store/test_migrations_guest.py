"""Where the tables are another role's: what we may not do is named, statement by statement."""

from __future__ import annotations

import pytest

from gateway.database.migrations import migrate, pending_statements
from gateway.errors import MigrationRequired, SettingsError
from gateway.settings import Settings
from gateway.standalone.postgres import SUPERUSER
from support.manager_schema import (
    JOB_ID,
    OWNER,
    as_owner,
    grant_tables,
    make_manager_database,
    read_schema,
    run_as,
)
from support.manager_use import is_up_to_date, use_gateway


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
