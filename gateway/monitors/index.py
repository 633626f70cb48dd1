"""Keeps the index of files up to date with the mount, where nobody else does."""

from __future__ import annotations

import logging

from gateway.index_state import IndexState
from gateway.indexer import Indexer
from gateway.monitors.loop import Monitor
from gateway.settings import Settings

log = logging.getLogger(__name__)

PROBLEMS_SHOWN = 5
# Until there is an index nothing can be cached: a mount that comes late is looked for this often.
UNBUILT_SECONDS = 30.0


class IndexMonitor(Monitor):
    """Indexes the whole filespace at the start, and again after each interval."""

    name = "index"

    def __init__(self, settings: Settings, state: IndexState) -> None:
        super().__init__()
        self.interval = UNBUILT_SECONDS
        self._built_interval = settings.index_interval
        self._mount_point = settings.container_mount_point
        self._indexer = Indexer(settings)
        self._state = state

    async def check_once(self) -> bool:
        """Index once. True if that is all that was asked for.

        Raises `IndexRefused`: the mount may come back, what is indexed stays.
        """
        result = await self._indexer.index(self._mount_point, progress=self._state.progress)
        self._state.built = True
        self.interval = self._built_interval
        log.info(
            "index: %d files, %d added, %d changed, %d removed, %.1f s",
            result.files, result.added, result.changed, result.removed, result.seconds,
        )  # fmt: skip
        for problem in result.problems[:PROBLEMS_SHOWN]:
            log.warning("index: skipped %s: %s", problem.path, problem.reason)
        return not self._built_interval
