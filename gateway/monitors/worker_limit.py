"""Keeps the limit at which each worker reads, so that a slow warming explains itself."""

from __future__ import annotations

from gateway.database.readiness import Readiness
from gateway.metrics.latest import Metrics
from gateway.monitors.loop import Monitor
from gateway.worker.throttle_store import ThrottleStore


class WorkerLimitMonitor(Monitor):
    """Looks at the row that ``throttle`` sets; without one ``own`` counts, as for our worker.

    Both in bytes per second and worker, 0 for no limit.
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
        """Look once. Raises `DatabaseUnavailable`, and the last limit stays."""
        await self._readiness.wait()
        limit = await self._store.read()
        self._metrics.worker_limit = self._own if limit is None else limit
        return False
