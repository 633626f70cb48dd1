"""Brings the schema up to date as soon as PostgreSQL can be reached, then lets requests in."""

from __future__ import annotations

import asyncio
import logging

from gateway.database import describe_outage
from gateway.database.migrations import migrate
from gateway.database.readiness import Readiness
from gateway.errors import DatabaseUnavailable, MigrationRequired, Unavailable
from gateway.monitors.loop import Monitor
from gateway.settings import Settings

log = logging.getLogger(__name__)

DATABASE_NEEDED = "Waiting for the database"
OWNER_NEEDED = "The database schema must be prepared by the owner of its tables"


class SchemaMonitor(Monitor):
    """Tries until it has succeeded once.

    Where only the tables' owner can create what is missing, it says so and goes on trying: the
    gateway is ready the moment the owner has run the statements.
    """

    name = "schema"
    interval = 2.0

    def __init__(self, settings: Settings, readiness: Readiness) -> None:
        super().__init__()
        self.done = asyncio.Event()
        self._settings = settings
        self._readiness = readiness

    async def check_once(self) -> bool:
        """Migrate. True when the schema is up to date. Raises `Unavailable` until it can be."""
        await self._readiness.database_started.wait()
        try:
            await migrate(self._settings)
        except DatabaseUnavailable as error:
            explanation = describe_outage(self._settings, error)
            raise self._wait_for(DATABASE_NEEDED, explanation) from None
        except MigrationRequired as error:
            statements = "\n".join(error.statements)
            raise self._wait_for(OWNER_NEEDED, f"{error.message}:\n{statements}") from None
        self._readiness.set_ready()
        self.done.set()
        log.info("ready: the schema is up to date")
        return True

    def _wait_for(self, reason: str, explanation: str) -> Unavailable:
        """What we wait for: the log gets all of it, strangers get the reason."""
        if self._readiness.reason != reason:
            self._readiness.wait_for(reason)
            # Another reason is news, though nothing was well in between.
            self.heartbeat.is_healthy = None
        return Unavailable(f"{reason}: {explanation}")
