"""A pool of readers for each filespace, so that one that hangs holds up none of the others."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from gateway.mount.location import with_slash
from gateway.worker.readers.file_source import FileSource, PosixFiles
from gateway.worker.readers.pool import ReaderPool
from gateway.worker.readers.read_task import ReadOutcome, ReadTask
from gateway.worker.readers.throttle import Throttle
from gateway.worker.timers import Timers


class ReaderPools:
    """Reads files below ``roots``, the mount points, each by a dedicated `ReaderPool`.

    A file must be in the filespace that its path names: a link from one into another leads out.
    ``concurrency`` is that of each pool, so that files which wait for one filespace take no reader
    from another. ``allowed``: the only folders that may be read; empty: all. For the rest see
    `ReaderPool`. All methods are for the event loop's thread; only `close` may run in another.
    """

    def __init__(
        self,
        roots: Sequence[str],
        *,
        concurrency: int,
        chunk_size: int,
        read_timeout: float,
        on_outcomes: Callable[[], object],
        source: FileSource | None = None,
        allowed: Sequence[str] = (),
        throttle: Throttle | None = None,
        timers: Timers = Timers(),  # noqa: B008 - it is frozen
    ) -> None:
        self._pools = {
            root: ReaderPool(
                root,
                concurrency=concurrency,
                chunk_size=chunk_size,
                read_timeout=read_timeout,
                on_outcomes=on_outcomes,
                source=source or PosixFiles(root, allowed),
                throttle=throttle,
                timers=timers,
            )
            for root in roots
        }
        self._prefixes = [(with_slash(root), pool) for root, pool in self._pools.items()]
        self._others = self._prefixes[0][1]

    @property
    def roots(self) -> Sequence[str]:
        """The mount points."""
        return list(self._pools)

    @property
    def unfinished(self) -> int:
        """Submitted tasks that have no outcome yet, also those that are held up."""
        return sum(pool.unfinished for pool in self._pools.values())

    @property
    def moving(self) -> int:
        """Unfinished tasks whose filespace is not held up."""
        return sum(pool.unfinished for pool in self._pools.values() if not pool.is_held_up)

    @property
    def moving_places(self) -> int:
        """Readers that the moving tasks are worth: a large file is read by several."""
        return sum(pool.places for pool in self._pools.values() if not pool.is_held_up)

    @property
    def bytes_read(self) -> int:
        """Bytes read since the pools were made; never falls."""
        return sum(pool.bytes_read for pool in self._pools.values())

    @property
    def readable(self) -> Sequence[str]:
        """The roots that are not held up; tasks for the others would only wait."""
        return [root for root, pool in self._pools.items() if not pool.is_held_up]

    def is_moving(self, path: str) -> bool:
        """Whether ``path`` is in a filespace that is not held up."""
        return not self._pool_of(path).is_held_up

    def submit(self, *tasks: ReadTask) -> None:
        """Queue tasks; never waits. A task that is below no root fails when it is read."""
        by_pool: defaultdict[ReaderPool, list[ReadTask]] = defaultdict(list)
        for task in tasks:
            by_pool[self._pool_of(task.path)].append(task)
        for pool, its_tasks in by_pool.items():
            pool.submit(*its_tasks)

    def drain(self) -> list[ReadOutcome]:
        """Everything that ended since the last call."""
        return [outcome for pool in self._pools.values() for outcome in pool.drain()]

    def check_stalled(self) -> int:
        """Give up reads that get no bytes; returns how many. To be called about once a second."""
        return sum(pool.check_stalled() for pool in self._pools.values())

    def close(self, timeout: float = 0.0) -> list[ReadTask]:
        """Stop reading, within ``timeout`` seconds; returns the tasks that were not read."""
        deadline = time.monotonic() + timeout
        # All of them first: a pool that hangs would use up the time of the others.
        for pool in self._pools.values():
            pool.stop()
        return [
            task
            for pool in self._pools.values()
            for task in pool.close(max(0.0, deadline - time.monotonic()))
        ]

    def _pool_of(self, path: str) -> ReaderPool:
        if len(self._prefixes) > 1:
            for prefix, pool in self._prefixes:
                if path.startswith(prefix):
                    return pool
        return self._others
