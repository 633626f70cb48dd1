"""Bring the schema up to date: create what is missing, only ever add.

TeamCache Manager's tables may exist already and belong to another role. Each step of a migration
says when it is not needed; a step that only the tables' owner may run is named, not tried blindly.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from psycopg2.extras import NamedTupleCursor

from gateway.database.connection import connect
from gateway.database.database import Session, translated_errors
from gateway.database.errors import first_line
from gateway.database.sql import Migration, Step, check_of, load_migrations, load_queries
from gateway.errors import LockTimeout, MigrationRequired, PermissionDenied, SettingsError
from gateway.settings import Settings

log = logging.getLogger(__name__)

# An index on a large table takes long, waiting for a busy table must not: everybody queues behind.
STATEMENT_SECONDS = 24 * 3600
LOCK_SECONDS = 5
# Behind CREATE INDEX CONCURRENTLY nobody queues, and it waits for every older transaction.
CONCURRENT_LOCK_SECONDS = 600
LOCK_ATTEMPTS = 60
POLL_SECONDS = 0.25


async def migrate(settings: Settings) -> list[str]:
    """Apply every migration that is missing, and return the titles of the steps that ran.

    Several gateways may start at once: one migrates, the others wait. Raises `MigrationRequired`
    with the statements that the owner must run where our role may not, `DatabaseUnavailable`.
    """
    async with _migrator(settings) as migrator, migrator.locked():
        return await migrator.apply()


async def pending_statements(settings: Settings, role: str) -> list[str]:
    """The SQL statements that are missing, grants to ``role`` included; nothing is changed.

    Raises `SettingsError` if there is no such role, `MigrationRequired` if what is there already
    may not be looked at, `DatabaseUnavailable`.
    """
    async with _migrator(settings) as migrator:
        await migrator.check_role(role)
        return await migrator.pending(role)


@asynccontextmanager
async def _migrator(settings: Settings) -> AsyncIterator[_Migrator]:
    with translated_errors():
        connection = await connect(settings, settings.db_connect_timeout)
        async with (
            connection,
            connection.cursor(cursor_factory=NamedTupleCursor, timeout=STATEMENT_SECONDS) as cursor,
        ):
            session = Session(cursor)
            migrator = _Migrator(session, settings.db_user)
            await migrator.prepare()
            yield migrator


class _Migrator:
    def __init__(self, session: Session, role: str) -> None:
        self._session = session
        self._role = role
        self._queries: Mapping[str, str] = load_queries("schema")

    async def prepare(self) -> None:
        await self._set_patience(LOCK_SECONDS)

    async def _set_patience(self, lock_seconds: float) -> None:
        """Let statements take their time, but wait for locks no longer than this."""
        await self._session.execute(
            self._queries["set_patience"], {"lock_timeout": f"{lock_seconds}s"}
        )

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        # Polled, not waited for: a waiting statement holds a snapshot, and the CREATE INDEX
        # CONCURRENTLY of the one who has the lock waits for snapshots. The lock ends with us.
        while not (await self._session.fetch_one(self._queries["try_lock"])).locked:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
        yield

    async def apply(self) -> list[str]:
        recorded, missing = await self._look()
        if missing:
            await self._check_powers()
        ran: list[str] = []
        for migration in load_migrations():
            for step in migration.steps:
                if step in missing and await self._is_missing(step):
                    await self._run(step)
                    ran.append(step.title)
            if migration.name not in recorded:
                await self._record(migration)
        if ran:
            log.info("migrated: %d steps", len(ran))
        await self._check_rights()
        return ran

    async def pending(self, role: str) -> list[str]:
        recorded, missing = await self._look()
        statements: list[str] = []
        for migration in load_migrations():
            for step in migration.steps:
                statements += _printable(step) if step in missing else []
            if migration.name not in recorded:
                statements.append(self._queries["record"] % {"name": f"'{migration.name}'"} + ";")
        return statements + await self._grants(role)

    async def check_role(self, role: str) -> None:
        if not (await self._session.fetch_one(self._queries["role_exists"], {"role": role})).found:
            raise SettingsError(f'There is no role "{role}" to grant anything to')

    async def _look(self) -> tuple[Collection[str], Collection[Step]]:
        """Which migrations are recorded, and which steps are missing, recorded or not.

        Whoever made a table anew, as an upgrade of the Manager may, lost what we had added to it.
        """
        records = await self._session.fetch_one(self._queries["records"])
        if not records.readable:
            await self._check_rights()
        applied = await self._session.fetch(self._queries["applied"]) if records.found else []
        steps = [step for migration in load_migrations() for step in migration.steps]
        found = await self._session.fetch_one(check_of(steps))
        missing = [step for step, there in zip(steps, found, strict=True) if not there]
        return {row.name for row in applied}, missing

    async def _is_missing(self, step: Step) -> bool:
        return not (await self._session.fetch_one(check_of([step])))[0]

    async def _check_powers(self) -> None:
        """Begin nothing that only the owner could end: half of it would be ours, and in his way."""
        if obstacles := await self._session.fetch(self._queries["obstacles"]):
            await self._hand_to_owner("; ".join(row.reason for row in obstacles))

    async def _run(self, step: Step) -> None:
        """Run a step; all of it again if a lock was not to be had, since it may leave a ruin."""
        seconds = CONCURRENT_LOCK_SECONDS if step.concurrent else LOCK_SECONDS
        await self._set_patience(seconds)
        for _ in range(LOCK_ATTEMPTS):
            try:
                await self._run_once(step)
            except LockTimeout:
                log.warning("a busy table delays the migration, trying again")
                await asyncio.sleep(POLL_SECONDS)
            else:
                log.debug("migrated: %s", step.title)
                return
        raise LockTimeout(f"A table stayed locked, so this could not be made: {step.title}")

    async def _run_once(self, step: Step) -> None:
        try:
            with translated_errors():
                for statement in step.statements:
                    await self._session.run(statement)
        except PermissionDenied as error:
            await self._hand_to_owner(first_line(error))

    async def _record(self, migration: Migration) -> None:
        try:
            with translated_errors():
                await self._session.execute(self._queries["record"], {"name": migration.name})
        except PermissionDenied as error:
            await self._hand_to_owner(first_line(error))

    async def _check_rights(self) -> None:
        if grants := await self._grants(self._role):
            raise MigrationRequired(
                f'The role "{self._role}" lacks rights that the owner of the tables can grant',
                grants,
            )

    async def _grants(self, role: str) -> list[str]:
        rows = await self._session.fetch(self._queries["missing_rights"], {"role": role})
        return [row.statement for row in rows]

    async def _hand_to_owner(self, reason: str) -> None:
        raise MigrationRequired(
            f'The role "{self._role}" may not create what is missing ({reason});'
            " the owner of the tables can, with these statements",
            await self.pending(self._role),
        )


def _printable(step: Step) -> list[str]:
    first, *others = step.statements
    return [f"-- {step.title}\n{first}", *others]
