"""The loop that drives every monitor, on a virtual clock: no test waits in real time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest

from gateway.errors import LockTimeout, StatementFailed, Unavailable
from gateway.metrics.heartbeat import Heartbeat
from gateway.monitors.loop import Monitor, running


class FastLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        timers = [t for t in self._scheduled if not t.cancelled()]  # type: ignore[attr-defined]
        if not self._ready and timers:  # type: ignore[attr-defined]
            self.now = max(self.now, min(timer.when() for timer in timers))
        super()._run_once()  # type: ignore[misc]


def fast(test: Callable[[], Any]) -> Callable[[], None]:
    """Run a test on a `FastLoop`."""

    def run() -> None:
        with asyncio.Runner(loop_factory=FastLoop) as runner:
            runner.run(test())

    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    return run


class Watch(Monitor):
    """Records its checks; each has the outcome and the duration given, the last one repeats."""

    name = "watch"
    interval = 5.0

    def __init__(self, *outcomes: Any, takes: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.starts: list[float] = []
        self.at_work = 0
        self.overlapped = False
        self._outcomes = outcomes or (False,)
        self._takes = takes
        self._looked = asyncio.Condition()

    async def check_once(self) -> bool:
        loop = asyncio.get_running_loop()
        self.starts.append(loop.time() - 1000)
        self.at_work += 1
        self.overlapped |= self.at_work > 1
        try:
            await asyncio.sleep(self._takes)
        finally:
            self.at_work -= 1
        async with self._looked:
            self._looked.notify_all()
        outcome = self._outcomes[min(len(self.starts), len(self._outcomes)) - 1]
        if isinstance(outcome, BaseException):
            raise outcome
        return bool(outcome)

    async def looks(self, times: int) -> Sequence[float]:
        """The start times of the first ``times`` checks, in seconds since the start."""
        async with self._looked:
            await self._looked.wait_for(lambda: len(self.starts) >= times)
        # The loop still has to handle the last outcome.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return self.starts[:times]


@fast
async def test_a_monitor_is_checked_at_once_and_at_each_interval() -> None:
    async with running(watch := Watch()):
        assert await watch.looks(4) == [0, 5, 10, 15]


@fast
async def test_a_checks_duration_does_not_shift_the_next_check() -> None:
    async with running(watch := Watch(takes=3)):
        assert await watch.looks(4) == [0, 5, 10, 15]


@fast
async def test_a_check_longer_than_the_interval_is_followed_by_the_next_and_never_overlaps() -> (
    None
):
    async with running(watch := Watch(takes=12)):
        assert await watch.looks(4) == [0, 12, 24, 36]
    assert not watch.overlapped


@fast
async def test_a_monitor_that_must_rest_rests_after_a_long_check_too() -> None:
    watch = Watch(takes=12)
    watch.rest = 2.0
    async with running(watch):
        assert await watch.looks(3) == [0, 14, 28]


@fast
async def test_a_requested_check_comes_at_once_and_only_once() -> None:
    async with running(watch := Watch()):
        await watch.looks(1)
        await asyncio.sleep(2)
        watch.check_requested.set()
        assert await watch.looks(3) == [0, 2, 7]


@fast
async def test_a_check_requested_during_a_check_follows_it() -> None:
    async with running(watch := Watch(takes=1)):
        await asyncio.sleep(0.5)
        watch.check_requested.set()
        assert await watch.looks(3) == [0, 1, 6]


@fast
async def test_setting_the_event_wakes_the_monitor() -> None:
    requested = asyncio.Event()
    async with running(watch := Watch(check_requested=requested)):
        await watch.looks(1)
        requested.set()
        assert await watch.looks(2) == [0, 0]


@fast
async def test_the_last_check_ends_the_loop() -> None:
    async with running(watch := Watch(False, True)):
        await asyncio.sleep(100)
        assert watch.starts == [0, 5]
    assert watch.heartbeat.is_healthy


@fast
async def test_leaving_ends_a_check_that_is_under_way() -> None:
    async with running(watch := Watch(takes=1000)):
        await asyncio.sleep(1)
        assert watch.at_work == 1
    assert watch.at_work == 0


FAILURES = [
    Unavailable("nothing there"),
    RuntimeError("a bug"),
    RecursionError("deep"),
    # The awaited task was cancelled, not the monitor.
    asyncio.CancelledError(),
    TimeoutError(),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_failing_check_does_not_end_the_loop(failure: BaseException) -> None:
    @fast
    async def scenario() -> None:
        async with running(watch := Watch(failure)):
            assert await watch.looks(3) == [0, 5, 10]
            assert watch.heartbeat.is_healthy is False

    scenario()


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_an_outage_is_logged_when_it_begins_and_the_next_one_again(
    failure: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    @fast
    async def scenario() -> None:
        outcomes = (failure, failure, failure, False, failure, failure)
        async with running(watch := Watch(*outcomes)):
            await watch.looks(3)
            assert len(loud(caplog)) == 1
            await watch.looks(4)
            assert watch.heartbeat.is_healthy
            await watch.looks(6)
            assert len(loud(caplog)) == 2

    scenario()
    assert all(record.getMessage().startswith("watch: ") for record in loud(caplog))


def test_a_statement_that_postgresql_refused_leaves_its_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def check() -> None:
        refused = StatementFailed()
        refused.__cause__ = ValueError("the column is gone")
        watch = Watch(refused)
        async with running(watch):
            await watch.looks(2)

    fast(check)()
    [record] = loud(caplog)
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert "the column is gone" in logging.Formatter().formatException(record.exc_info)


def test_a_lock_timeout_is_logged_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        watch = Watch(LockTimeout("The table is busy"))
        async with running(watch):
            await watch.looks(2)

    fast(check)()
    [record] = loud(caplog)
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert record.getMessage() == "watch: The table is busy"


def loud(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


@fast
async def test_a_failure_of_one_monitor_does_not_affect_the_others() -> None:
    async with running(Watch(RuntimeError("a bug"))), running(well := Watch()):
        assert await well.looks(3) == [0, 5, 10]
        assert well.heartbeat.is_healthy


class Opened(Watch):
    """A monitor with its own context."""

    def __init__(self, *outcomes: Any) -> None:
        super().__init__(*outcomes)
        self.story: list[str] = []

    async def __aenter__(self) -> Self:
        self.story.append("entered")
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        assert self.at_work == 0
        self.story.append("left")

    async def check_once(self) -> bool:
        self.story.append("checked")
        return await super().check_once()


@fast
async def test_a_monitors_own_context_is_entered_before_its_checks_and_left_after_them() -> None:
    async with running(opened := Opened(True)):
        await opened.looks(1)
    assert opened.story == ["entered", "checked", "left"]


@fast
async def test_a_monitors_context_is_left_when_those_inside_fail() -> None:
    opened = Opened()
    with pytest.raises(KeyError):
        async with running(opened):
            await opened.looks(1)
            raise KeyError
    assert opened.story[-1] == "left"


class Blocked(Opened):
    """A monitor whose context cannot be entered."""

    async def __aenter__(self) -> Self:
        raise Unavailable("it is closed")


@fast
async def test_a_monitor_that_cannot_be_entered_is_never_checked() -> None:
    blocked = Blocked()
    with pytest.raises(Unavailable):
        async with running(blocked):
            pytest.fail("nothing should run")
    assert blocked.story == []


@asynccontextmanager
async def several(monitors: Sequence[Monitor]) -> AsyncIterator[None]:
    async with running(monitors[0]), running(monitors[1]):
        yield


@fast
async def test_cancelling_the_parent_task_ends_all_monitors() -> None:
    watches = [Watch(takes=1000), Watch()]

    async def drive() -> None:
        async with several(watches):
            await asyncio.sleep(10_000)

    task = asyncio.create_task(drive())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [watch.at_work for watch in watches] == [0, 0]
    assert [t for t in asyncio.all_tasks() if t.get_name().startswith("monitor ")] == []


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


def test_a_heartbeat_reports_its_age(clock: list[float]) -> None:
    heartbeat = Heartbeat(lambda: clock[0])
    clock[0] = 7.0
    assert heartbeat.is_healthy is None
    assert heartbeat.age == 7
    heartbeat.ok()
    clock[0] = 9.5
    assert heartbeat.is_healthy
    assert heartbeat.age == 2.5


def test_only_the_first_failure_is_reported_as_new(clock: list[float]) -> None:
    heartbeat = Heartbeat(lambda: clock[0])
    assert [heartbeat.fail(), heartbeat.fail()] == [True, False]
    heartbeat.ok()
    assert [heartbeat.fail(), heartbeat.fail()] == [True, False]


def test_the_age_grows_after_a_failure(clock: list[float]) -> None:
    heartbeat = Heartbeat(lambda: clock[0])
    heartbeat.ok()
    clock[0] = 3.0
    heartbeat.fail()
    assert heartbeat.is_healthy is False
    assert heartbeat.age == 3


def test_a_finished_monitor_stays_healthy_and_has_no_age(
    clock: list[float],
) -> None:
    heartbeat = Heartbeat(lambda: clock[0])
    heartbeat.ok()
    heartbeat.finish()
    clock[0] = 3.0
    assert (heartbeat.is_healthy, heartbeat.age) == (True, None)


class Deaf(Monitor):
    """A monitor that swallows its first cancellation, as aiopg may."""

    name = "deaf"
    interval = 3600.0

    def __init__(self) -> None:
        super().__init__()
        self.started = asyncio.Event()

    async def check_once(self) -> bool:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return False
        return True


async def test_a_check_that_swallows_its_cancellation_is_cancelled_again() -> None:
    monitor = Deaf()
    async with asyncio.timeout(30):
        async with running(monitor):
            await monitor.started.wait()
