"""Lets go of the answers that are kept for submits sent again, once they are 24 hours old."""

from __future__ import annotations

from gateway.idempotency import Idempotency
from gateway.monitors.loop import Monitor
from gateway.readiness import Readiness


class IdempotencyKeysMonitor(Monitor):
    """Looks now and then: an old answer is not given any more, whether it is there or not."""

    name = "idempotency-keys"
    interval = 600.0

    def __init__(self, idempotency: Idempotency, readiness: Readiness) -> None:
        super().__init__()
        self._idempotency = idempotency
        self._readiness = readiness

    async def check_once(self) -> bool:
        """Delete what is old."""
        await self._readiness.wait()
        await self._idempotency.forget()
        return False
