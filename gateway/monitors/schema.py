"""Migrates the schema as soon as PostgreSQL can be reached, then admits requests."""

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
    """Migrates the schema, retrying until it has succeeded once.

    If only the tables' owner can create what is missing, it logs the statements and retries: the
    gateway is ready as soon as the owner has run them.
    """

    name = "schema"
    interval = 2.0

    def __init__(self, settings: Settings, readiness: Readiness) -> None:
        super().__init__()
        self.done = asyncio.Event()
        self._settings = settings
        self._readiness = readiness

    async def check_once(self) -> bool:
        """Migrate. True when the schema is up to date. Raises `Unavailable`."""
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
        """The error to log; clients get the ``reason`` alone."""
        if self._readiness.reason != reason:
            self._readiness.wait_for(reason)
            # A new reason is logged although the monitor was unhealthy before.
            self.heartbeat.is_healthy = None
        return Unavailable(f"{reason}: {explanation}")
