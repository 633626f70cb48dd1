"""Brings WebSocket clients up to date that have fallen behind."""

from __future__ import annotations

from gateway.events.send_buffer import SendBuffers
from gateway.monitors.loop import Monitor


class OutboxesMonitor(Monitor):
    """Flushes what is kept for slow clients, twenty times a second."""

    name = "outboxes"
    interval = 0.05

    def __init__(self, send_buffers: SendBuffers) -> None:
        super().__init__()
        self._send_buffers = send_buffers

    async def check_once(self) -> bool:
        """Flush once."""
        self._send_buffers.flush()
        return False
