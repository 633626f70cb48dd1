"""Work that needs the database, and outlives its outages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.errors import GatewayError
from gateway.logs.fault_log import FaultLog

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]


class Retries:
    """Runs work and logs its errors. Each outage is logged once, when it begins and when it ends.

    ``seconds`` is the rest after a failure.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._faults = FaultLog(log, "worker: all is well with the database again")

    async def attempt(self, work: Work) -> bool:
        """Run ``work`` once; return False, after a rest, if it failed."""
        try:
            await work()
        except GatewayError as error:
            cause = f" ({str(error.__cause__).strip()})"
            self._faults.begin(work.__qualname__, f"worker: {error.message}", cause)
        except Exception:
            log.exception("worker: a round failed")
        else:
            self.succeeded(work)
            return True
        await asyncio.sleep(self._seconds)
        return False

    def succeeded(self, work: Work) -> None:
        """Note that ``work`` gets answers, for work that does not end by itself."""
        self._faults.end(work.__qualname__)

    async def repeat(self, work: Work, seconds: float = 0.0) -> None:
        """Run ``work`` for ever, ``seconds`` apart."""
        while True:
            if await self.attempt(work):
                await asyncio.sleep(seconds)
