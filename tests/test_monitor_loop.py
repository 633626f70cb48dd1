"""The loop that drives every monitor: it outlives what fails, and ends when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.errors import DatabaseUnavailable
from gateway.monitors.loop import running


class Scripted:
    """A monitor that does one thing a check; ``ended`` is set when there is nothing left to do."""

    name = "scripted"
    interval = 3600.0

    def __init__(self, *things: Callable[[], bool]) -> None:
        self.wanted = asyncio.Event()
        self.ended = asyncio.Event()
        self.checks = 0
        self._things = list(things)

    async def check_once(self) -> bool:
        self.checks += 1
        if not self._things:
            self.ended.set()
            return True
        self.wanted.set()
        return self._things.pop(0)()


def fail(error: Exception) -> Callable[[], bool]:
    def thing() -> bool:
        raise error

    return thing


async def test_a_check_that_fails_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    monitor = Scripted(fail(DatabaseUnavailable()), fail(ValueError("a fault")), lambda: False)
    async with running(monitor), asyncio.timeout(30):
        await monitor.ended.wait()
    assert monitor.checks == 4
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "ERROR"]


async def test_a_check_is_made_at_once_when_it_is_wanted() -> None:
    monitor = Scripted(lambda: False)
    async with running(monitor), asyncio.timeout(30):
        monitor.wanted.set()
        await monitor.ended.wait()


async def test_a_check_that_swallows_its_cancellation_is_cancelled_again() -> None:
    started = asyncio.Event()

    class Deaf:
        name = "deaf"
        interval = 3600.0
        wanted = asyncio.Event()

        async def check_once(self) -> bool:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return False
            return True

    async with asyncio.timeout(30):
        async with running(Deaf()):
            await started.wait()
