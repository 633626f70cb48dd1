"""Whether the gateway can take jobs yet."""

from __future__ import annotations

import asyncio

from gateway.errors import Starting


class Readiness:
    """Not ready until the schema is; ``reason`` says what it still waits for."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self.database_started = asyncio.Event()
        self.database_started.set()
        self.reason: str | None = Starting.default_message

    @property
    def is_ready(self) -> bool:
        """Whether the schema is up to date."""
        return self._reached.is_set()

    def expect_database_start(self) -> None:
        """Expect nothing of the database before ``database_started`` is set."""
        self.database_started.clear()
        self.reason = "PostgreSQL is starting"

    def wait_for(self, reason: str) -> None:
        """Say why the gateway is not ready."""
        self.reason = reason

    def set_ready(self) -> None:
        """Let requests in."""
        self.reason = None
        self._reached.set()

    async def wait(self) -> None:
        """Wait until the gateway is ready."""
        await self._reached.wait()

    def check(self) -> None:
        """Raise `Starting` with the reason while the gateway is not ready."""
        if self.reason is not None:
            raise Starting(self.reason)
