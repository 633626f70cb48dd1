"""Keeps the read limit of each worker, so that metrics can explain slow warming."""

from __future__ import annotations

from gateway.database.readiness import Readiness
from gateway.metrics.latest import Metrics
from gateway.monitors.loop import Monitor
from gateway.worker.throttle_store import ThrottleStore


class WorkerLimitMonitor(Monitor):
    """Reads the row that ``throttle`` sets; without one ``own``, the worker's setting, applies.

    Both in bytes per second for each worker, 0 for no limit.
    """

    name = "worker-limit"
    interval = 5.0

    def __init__(
        self, store: ThrottleStore, own: int, metrics: Metrics, readiness: Readiness
    ) -> None:
        super().__init__()
        self._store = store
        self._own = own
        self._metrics = metrics
        self._readiness = readiness

    async def check_once(self) -> bool:
        """Read the limit once. Raises `DatabaseUnavailable`; the last limit stays."""
        await self._readiness.wait()
        limit = await self._store.read()
        self._metrics.worker_limit = self._own if limit is None else limit
        return False
