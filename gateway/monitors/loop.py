"""The one loop that drives every monitor."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol

from gateway.errors import GatewayError

log = logging.getLogger(__name__)


class Monitor(Protocol):
    """Something that is looked at again and again."""

    @property
    def name(self) -> str:
        """What logs and metrics call it."""

    @property
    def interval(self) -> float:
        """Seconds from one check to the next."""

    @property
    def wanted(self) -> asyncio.Event:
        """Set it to have the next check at once."""

    async def check_once(self) -> bool:
        """Look once. True: that was the last time, there is nothing left to watch."""


@asynccontextmanager
async def running(monitor: Monitor) -> AsyncIterator[None]:
    """Drive a monitor for as long as the context lasts; inside its own context, if it has one."""
    async with AsyncExitStack() as stack:
        if isinstance(monitor, AbstractAsyncContextManager):
            await stack.enter_async_context(monitor)
        task = asyncio.create_task(_drive(monitor), name=f"monitor {monitor.name}")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _drive(monitor: Monitor) -> None:
    """Check on the beat; a check that fails is logged, and never ends the loop.

    Checks never overlap: one that takes longer than the interval is followed by the next at once.
    """
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        if await _checked(monitor):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(started + monitor.interval):
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
