"""Whether the gateway can take jobs yet."""

from __future__ import annotations

import asyncio

from gateway.errors import Starting


class Readiness:
    """Not ready until the schema is; ``reason`` says what it still waits for."""

    def __init__(self) -> None:
        self.reason: str | None = Starting.default_message
        self._is_reached = asyncio.Event()

    def wait_for(self, reason: str) -> None:
        """Say why the gateway is not ready."""
        self.reason = reason

    def reached(self) -> None:
        """Let requests in."""
        self.reason = None
        self._is_reached.set()

    async def wait(self) -> None:
        """Wait until the gateway is ready."""
        await self._is_reached.wait()

    def check(self) -> None:
        """Raise `Starting` with the reason while the gateway is not ready."""
        if self.reason is not None:
            raise Starting(self.reason)
