"""Keeps the index of files up to date with the mounts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from gateway.errors import GatewayError, IndexRefused, IndexWouldEmpty, StatementFailed
from gateway.index.indexer import Indexer, IndexProblem, IndexResult
from gateway.index.state import FilespaceIndex, IndexState
from gateway.monitors.loop import Monitor
from gateway.settings import Settings

log = logging.getLogger(__name__)

MAX_LOGGED_PROBLEMS = 5
# Nothing can be cached without an index, so a mount that comes late is checked for this often.
UNBUILT_SECONDS = 30.0


def index_monitors(
    settings: Settings, state: IndexState, rescan: Callable[[str], str]
) -> Sequence[IndexMonitor]:
    """One for each filespace, so that an unavailable mount does not delay the others.

    They index one after another. ``rescan`` gives the command that indexes a mount point manually.
    """
    monitors = [
        IndexMonitor(settings, mount_point, state.of(mount_point), rescan(mount_point))
        for mount_point in settings.mount_points
    ]
    for filespace, monitor in zip(settings.filespaces, monitors, strict=False):
        monitor.name = f"index-{filespace.name}"
    return monitors


class IndexMonitor(Monitor):
    """Indexes a whole filespace at the start, and again after each interval.

    ``state`` holds its progress. ``rescan`` is the command for indexing manually, which a refusal
    names.
    """

    name = "index"

    def __init__(
        self,
        settings: Settings,
        mount_point: str,
        state: FilespaceIndex,
        rescan: str = "teamcache-gateway index DIR",
    ) -> None:
        super().__init__()
        self.interval = UNBUILT_SECONDS
        self._built_interval = settings.index_interval
        self._mount_point = mount_point
        self._indexer = Indexer(settings)
        self._state = state
        self._rescan = rescan
        self._reported: frozenset[IndexProblem] = frozenset()

    async def check_once(self) -> bool:
        """Index once. True if no interval is set.

        Raises `IndexRefused`; the index stays as it is, and the mount may come back.
        """
        with self._noting_failure():
            result = await self._indexer.index(self._mount_point, progress=self._state.progress)
        self._state.succeeded(result.files + result.directories, datetime.now(UTC))
        self.interval = self._built_interval
        log.info(
            "%s: %d files, %d added, %d changed, %d removed, %.1f s",
            self.name, result.files, result.added, result.changed, result.removed, result.seconds,
        )  # fmt: skip
        self._log_new_problems(result)
        return not self._built_interval

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except IndexWouldEmpty as error:
            self._state.failed(error.message)
            raise IndexRefused(f"{error.message}: {self._rescan} --allow-empty") from None
        except StatementFailed:
            self._state.failed("PostgreSQL refused a statement")
            raise
        except GatewayError as error:
            self._state.failed(error.message)
            raise
        except Exception:
            self._state.failed("The scan failed")
            raise

    def _log_new_problems(self, result: IndexResult) -> None:
        """Log the problems that the previous scan did not have."""
        new = [problem for problem in result.problems if problem not in self._reported]
        for problem in new[:MAX_LOGGED_PROBLEMS]:
            log.warning("%s: skipped %s: %s", self.name, problem.path, problem.reason)
        if more := new[MAX_LOGGED_PROBLEMS:]:
            log.warning("%s: skipped %d more", self.name, len(more))
        self._reported = frozenset(result.problems)
