"""A pool of readers for each filespace: what holds one up holds up none of the others."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from gateway.mount.location import with_slash
from gateway.worker.readers.file_source import FileSource, PosixFiles
from gateway.worker.readers.pool import ReaderPool
from gateway.worker.readers.read_task import ReadOutcome, ReadTask
from gateway.worker.readers.throttle import Throttle


class ReaderPools:
    """Reads files below ``roots``, the mount points: each by a `ReaderPool` of its own.

    A file must lie in the filespace that its path names: a link from one into another leads out.
    ``concurrency`` is that of each pool, so that files which wait for one filespace take no reader
    from another; ``allowed`` the folders that alone may be read, none: all; for the rest see
    `ReaderPool`. All methods are for one thread, the event loop's;
    only `close` may also run in another.
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
            )
            for root in roots
        }
        self._prefixes = [(with_slash(root), pool) for root, pool in self._pools.items()]
        self._others = self._prefixes[0][1]

    @property
    def unfinished(self) -> int:
        """Tasks submitted that have no outcome yet, also those that are held up."""
        return sum(pool.unfinished for pool in self._pools.values())

    @property
    def moving(self) -> int:
        """Those of them whose filespace is not held up."""
        return sum(pool.unfinished for pool in self._pools.values() if not pool.is_held_up)

    @property
    def moving_places(self) -> int:
        """Readers that those are worth: a large file is read by several."""
        return sum(pool.places for pool in self._pools.values() if not pool.is_held_up)

    @property
    def bytes_read(self) -> int:
        """Bytes read since the pools were made; never falls."""
        return sum(pool.bytes_read for pool in self._pools.values())

    @property
    def readable(self) -> Sequence[str]:
        """The roots from which something can be read; tasks for the others would only wait."""
        return [root for root, pool in self._pools.items() if not pool.is_held_up]

    def is_moving(self, path: str) -> bool:
        """Whether ``path`` lies in a filespace that is not held up."""
        return not self._pool_of(path).is_held_up

    def submit(self, *tasks: ReadTask) -> None:
        """Queue tasks; never waits. One that lies below no root fails when it is read."""
        # All of a pool's together, though those of several jobs take turns.
        by_pool: defaultdict[ReaderPool, list[ReadTask]] = defaultdict(list)
        for task in tasks:
            by_pool[self._pool_of(task.path)].append(task)
        for pool, its_own in by_pool.items():
            pool.submit(*its_own)

    def drain(self) -> list[ReadOutcome]:
        """Everything that ended since the last call."""
        return [outcome for pool in self._pools.values() for outcome in pool.drain()]

    def check_stalled(self) -> int:
        """Give up reads that get no bytes; returns how many. To be called about once a second."""
        return sum(pool.check_stalled() for pool in self._pools.values())

    def close(self, timeout: float = 0.0) -> list[ReadTask]:
        """Stop reading, within ``timeout`` seconds; returns the tasks that were not read."""
        deadline = time.monotonic() + timeout
        # All of them first: those who hang would use up the time of the others.
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
