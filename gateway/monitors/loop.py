"""The base class of monitors, and the loop that drives them."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

from gateway.errors import GatewayError, StatementFailed
from gateway.metrics.heartbeat import Heartbeat
from gateway.runtime.tasks import background_task

log = logging.getLogger(__name__)


class Monitor(ABC):
    """Something that is checked periodically.

    ``name`` is its name in logs and metrics. ``interval`` is the time from the start of one check
    to the start of the next, ``rest`` the minimum time between two checks, both in seconds. Set
    ``check_requested`` for a check at once.
    """

    name: str
    interval: float
    rest: float = 0.0

    def __init__(self, check_requested: asyncio.Event | None = None) -> None:
        self.check_requested = check_requested or asyncio.Event()
        self.heartbeat = Heartbeat()

    @abstractmethod
    async def check_once(self) -> bool:
        """Check once. True means that it was the last check."""


@asynccontextmanager
async def running(
    monitor: Monitor, heartbeats: MutableMapping[str, Heartbeat] | None = None
) -> AsyncIterator[None]:
    """Drive a monitor while the context lasts, inside the monitor's own context if it has one.

    Its heartbeat is added to ``heartbeats`` under its name.
    """
    if heartbeats is not None:
        heartbeats[monitor.name] = monitor.heartbeat
    async with AsyncExitStack() as stack:
        if isinstance(monitor, AbstractAsyncContextManager):
            await stack.enter_async_context(monitor)
        await stack.enter_async_context(background_task(_drive(monitor), f"monitor {monitor.name}"))
        yield


async def _drive(monitor: Monitor) -> None:
    """Check at each interval; a failed check is logged and never ends the loop.

    Checks never overlap: after one that takes longer than the interval the next follows at once.
    """
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        if await _check(monitor):
            monitor.heartbeat.finish()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(_due(monitor, started, loop.time())):
                await monitor.check_requested.wait()
        monitor.check_requested.clear()


def _due(monitor: Monitor, started: float, ended: float) -> float:
    return max(started + monitor.interval, ended + monitor.rest)


async def _check(monitor: Monitor) -> bool:
    try:
        is_last = await monitor.check_once()
    except StatementFailed as error:
        # An internal fault with a public message; the cause is PostgreSQL's error.
        _log_fault(monitor, error)
        return False
    except GatewayError as error:
        log.log(_level(monitor, logging.WARNING), "%s: %s", monitor.name, error.message)
        return False
    except asyncio.CancelledError as error:
        # The monitor may not be the one cancelled, but something that the check awaited.
        if _is_being_cancelled():
            raise
        _log_fault(monitor, error)
        return False
    except Exception as error:  # noqa: BLE001 - no error may end the loop
        _log_fault(monitor, error)
        return False
    monitor.heartbeat.ok()
    return is_last


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _log_fault(monitor: Monitor, error: BaseException) -> None:
    level = _level(monitor, logging.ERROR)
    log.log(level, "%s: the check failed", monitor.name, exc_info=error)


def _level(monitor: Monitor, level: int) -> int:
    """``level`` for the first failure, DEBUG for those that follow."""
    return level if monitor.heartbeat.fail() else logging.DEBUG
