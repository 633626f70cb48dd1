"""Brings WebSocket clients up to date that have fallen behind."""

from __future__ import annotations

import asyncio

from gateway.outbox import Outboxes


class OutboxesMonitor:
    """Flushes what is kept for slow clients, twenty times a second."""

    name = "outboxes"
    interval = 0.05

    def __init__(self, outboxes: Outboxes) -> None:
        self.wanted = asyncio.Event()
        self._outboxes = outboxes

    async def check_once(self) -> bool:
        """Flush once."""
        self._outboxes.flush()
        return False
