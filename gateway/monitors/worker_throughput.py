"""Measures the throughput of the gateway's embedded worker, once a second while it works."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.events.hub import Event, Hub
from gateway.metrics.latest import MIB, Metrics
from gateway.monitors.loop import Monitor
from gateway.schemas.serializers import lucidlink_message
from gateway.worker.worker import Worker


class WorkerThroughputMonitor(Monitor):
    """Publishes the worker's rate in MiB/s, in the same message as the backend's."""

    name = "worker-throughput"
    interval = 1.0

    def __init__(
        self,
        worker: Worker,
        metrics: Metrics,
        hub: Hub,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._worker = worker
        self._metrics = metrics
        self._hub = hub
        self._clock = clock
        self._bytes_before = 0
        self._measured_at = clock()
        self._was_busy = False

    async def check_once(self) -> bool:
        """Measure the bytes read since the last check."""
        now, read = self._clock(), self._worker.bytes_read
        elapsed, delta = now - self._measured_at, read - self._bytes_before
        if elapsed <= 0:
            return False
        self._measured_at, self._bytes_before = now, read
        is_busy = self._worker.is_busy or delta > 0
        # Once more after the work has ended: otherwise its last rate would stay displayed.
        if is_busy or self._was_busy:
            throughput = self._metrics.measure_throughput(delta / elapsed / MIB)
            self._hub.publish(Event(lucidlink_message(throughput)))
        self._was_busy = is_busy
        return False
