"""What every monitor is, and the one loop that drives them all."""

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
    """Something that is looked at again and again.

    ``name`` is what logs and metrics call it, ``interval`` the seconds from the start of one
    check to that of the next, ``rest`` those that lie between them at the least. Set ``wanted``
    to have the next check at once.
    """

    name: str
    interval: float
    rest: float = 0.0

    def __init__(self, wanted: asyncio.Event | None = None) -> None:
        self.wanted = wanted or asyncio.Event()
        self.heartbeat = Heartbeat()

    @abstractmethod
    async def check_once(self) -> bool:
        """Look once. True: that was the last time, there is nothing left to watch."""


@asynccontextmanager
async def running(
    monitor: Monitor, heartbeats: MutableMapping[str, Heartbeat] | None = None
) -> AsyncIterator[None]:
    """Drive a monitor for as long as the context lasts; inside its own context, if it has one.

    Its pulse is entered into ``pulses`` under its name.
    """
    if heartbeats is not None:
        heartbeats[monitor.name] = monitor.heartbeat
    async with AsyncExitStack() as stack:
        if isinstance(monitor, AbstractAsyncContextManager):
            await stack.enter_async_context(monitor)
        await stack.enter_async_context(background_task(_drive(monitor), f"monitor {monitor.name}"))
        yield


async def _drive(monitor: Monitor) -> None:
    """Check on the beat; a check that fails is logged, and never ends the loop.

    Checks never overlap: one that takes longer than the interval is followed by the next at once.
    """
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        if await _checked(monitor):
            monitor.heartbeat.finish()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(_due(monitor, started, loop.time())):
                await monitor.wanted.wait()
        monitor.wanted.clear()


def _due(monitor: Monitor, started: float, ended: float) -> float:
    return max(started + monitor.interval, ended + monitor.rest)


async def _checked(monitor: Monitor) -> bool:
    try:
        is_last = await monitor.check_once()
    except StatementFailed as error:
        # A fault of ours, whose message is for strangers; what PostgreSQL said is its cause.
        _log_fault(monitor, error)
        return False
    except GatewayError as error:
        log.log(_level(monitor, logging.WARNING), "%s: %s", monitor.name, error.message)
        return False
    except asyncio.CancelledError as error:
        # One that nobody sent us: something that the check waited for was cancelled.
        if _is_being_cancelled():
            raise
        _log_fault(monitor, error)
        return False
    except Exception as error:  # noqa: BLE001 - whatever it is, the next check is due
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
    """What lasts is told when it begins, not at each check."""
    return level if monitor.heartbeat.fail() else logging.DEBUG
