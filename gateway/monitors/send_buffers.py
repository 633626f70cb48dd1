"""Flushes the send buffers of slow WebSocket clients."""

from __future__ import annotations

from gateway.events.send_buffer import SendBuffers
from gateway.monitors.loop import Monitor


class SendBuffersMonitor(Monitor):
    """Flushes the backlogs of slow clients twenty times a second."""

    name = "outboxes"
    interval = 0.05

    def __init__(self, send_buffers: SendBuffers) -> None:
        super().__init__()
        self._send_buffers = send_buffers

    async def check_once(self) -> bool:
        """Flush once."""
        self._send_buffers.flush()
        return False
