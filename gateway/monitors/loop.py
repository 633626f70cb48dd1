"""The one loop that drives every monitor."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from gateway.errors import GatewayError

log = logging.getLogger(__name__)

CANCEL_AGAIN_SECONDS = 0.5


class Monitor(Protocol):
    """Something that is looked at again and again."""

    name: str
    interval: float
    """Seconds between two checks."""
    wanted: asyncio.Event
    """Set it to have the next check at once."""

    async def check_once(self) -> bool:
        """Look once. True: that was the last time, there is nothing left to watch."""


@asynccontextmanager
async def running(monitor: Monitor) -> AsyncIterator[None]:
    """Drive a monitor for as long as the context lasts."""
    task = asyncio.create_task(_drive(monitor), name=f"monitor {monitor.name}")
    try:
        yield
    finally:
        await _end(task)


async def _end(task: asyncio.Task[None]) -> None:
    # Once is not always enough: before Python 3.12 asyncio.wait_for, which aiopg uses, loses a
    # cancellation that arrives together with the result.
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_SECONDS)


async def _drive(monitor: Monitor) -> None:
    """Check, wait, check: a check that fails is logged, and never ends the loop."""
    while not await _checked(monitor):
        with suppress(TimeoutError):
            async with asyncio.timeout(monitor.interval):
                await monitor.wanted.wait()
        monitor.wanted.clear()


async def _checked(monitor: Monitor) -> bool:
    try:
        return await monitor.check_once()
    except GatewayError as error:
        log.warning("monitor %s: %s", monitor.name, error.message)
    except Exception:
        log.exception("monitor %s failed", monitor.name)
    return False
