"""What our own worker reads is the throughput: once a second while it works."""

from __future__ import annotations

from typing import Any

from gateway.events.hub import Hub
from gateway.metrics.latest import MIB, Metrics
from gateway.monitors.worker_throughput import WorkerThroughputMonitor
from support.hearing import Ear


class Reading:
    """As much of a worker as is looked at."""

    bytes_read = 0
    is_busy = False


class Bench:
    """A monitor whose clock and worker are the test's."""

    def __init__(self) -> None:
        self.now = 10.0
        self.worker = Reading()
        self.metrics = Metrics("us-east-1", lambda: self.now)
        hub = Hub()
        self.ear = Ear(hub)
        worker: Any = self.worker
        self.monitor = WorkerThroughputMonitor(worker, self.metrics, hub, lambda: self.now)

    async def after(self, seconds: float, read: float = 0, busy: bool = True) -> list[float]:
        """Let time pass in which so many MiB are read; gives the rates that are published."""
        self.now += seconds
        self.worker.bytes_read += int(read * MIB)
        self.worker.is_busy = busy
        assert await self.monitor.check_once() is False
        return [message["lucidLink"]["throughputMbps"] for message in self.ear.all()]


async def test_the_rate_is_what_was_read_since_the_last_check() -> None:
    bench = Bench()
    assert await bench.after(1, read=100) == [100]
    assert await bench.after(2, read=100) == [50]
    assert await bench.after(0.5, read=100) == [200]


async def test_a_worker_that_waits_for_its_reads_publishes_a_rate_of_nothing() -> None:
    bench = Bench()
    assert await bench.after(1, read=0, busy=True) == [0]


async def test_an_idle_worker_publishes_nothing() -> None:
    bench = Bench()
    assert await bench.after(1, busy=False) == []
    assert bench.metrics.throughput is None


async def test_when_the_work_has_ended_the_rate_falls_to_nothing_once() -> None:
    bench = Bench()
    assert await bench.after(1, read=100) == [100]
    assert await bench.after(1, read=30, busy=False) == [30]
    assert await bench.after(1, busy=False) == [0]
    assert await bench.after(1, busy=False) == []
    assert bench.metrics.throughput is not None
    assert bench.metrics.throughput.mbps == 0


async def test_a_job_between_two_checks_is_not_missed() -> None:
    bench = Bench()
    assert await bench.after(1, read=5, busy=False) == [5]


async def test_a_clock_that_stands_still_divides_by_nothing() -> None:
    bench = Bench()
    assert await bench.after(0, read=5) == []
    # What was read meanwhile is not lost.
    assert await bench.after(1, read=5) == [10]


async def test_it_is_measured_once_a_second() -> None:
    assert WorkerThroughputMonitor.interval == 1.0
