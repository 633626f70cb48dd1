"""Reads the status of files on the mounts. A hung mount delays the caller two seconds at most."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from typing import Any

from gateway.mount.location import Folder, with_slash
from gateway.mount.path_status import (
    DirectoryContent,
    PathInspector,
    PathKind,
    PathStatus,
    content_of,
    has_entries,
)
from gateway.runtime.offload import run_in_thread_if_large

MAX_CONCURRENT_STATS = 32
STATS_SECONDS = 2.0
# For a mount that takes less than ten microseconds a path, one thread is enough.
SLICE_SECONDS = 0.005
FAST_ANSWERS = 500

Inspect = Callable[[str], Any]


class _Batch:
    """Paths inspected together, with one event for all of them."""

    def __init__(self, inspect: Inspect, paths: Sequence[str]) -> None:
        self.inspect = inspect
        self.paths = paths
        self.answers: list[Any] = [None] * len(paths)
        self.taken = 0
        self.answered = 0
        self.max_threads = 1
        self.is_abandoned = False
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def has_work(self) -> bool:
        """Whether another thread may take one of its paths."""
        return self.taken < len(self.paths) and self.taken - self.answered < self.max_threads

    def finish(self) -> None:
        """Wake the waiting task. Thread-safe."""
        with suppress(RuntimeError):  # the loop may be closed
            self._loop.call_soon_threadsafe(self.done.set)


class Mount:
    """Inspects paths on the mounts at ``mount_points`` in at most 32 dedicated daemon threads.

    A thread stuck in a hung mount stays stuck: it must not delay the exit of the process, and the
    number of such threads is bounded, so the standard library's executors do not fit. Abandoned
    batches are dropped, and while every thread is stuck no batch is accepted. Only the folders
    ``allowed`` may be cached; if empty, all.
    """

    def __init__(self, mount_points: Sequence[str], allowed: Sequence[str] = ()) -> None:
        self._prefixes = {root: with_slash(root) for root in mount_points}
        self._inspector = PathInspector(mount_points, allowed)
        self._batches: deque[_Batch] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._stuck = 0

    async def mounted(self, mount_points: Iterable[str] | None = None) -> AbstractSet[str]:
        """The mount points, of those given or of all, that are non-empty directories."""
        roots = list(self._prefixes if mount_points is None else mount_points)
        answers = await self._inspect_all(has_entries, roots)
        return {root for root, has_any in zip(roots, answers, strict=True) if has_any}

    async def stat_all(
        self, paths: Sequence[str], own_prefixes: Sequence[str] = ()
    ) -> list[PathStatus]:
        """Inspect all paths within two seconds; those without an answer are UNKNOWN.

        So are missing paths on a mount that is unavailable: everything is missing there. The caller
        may cache only the folders ``own_prefixes``; if empty, all.
        """
        unknown = PathStatus(PathKind.UNKNOWN)
        inspect: Inspect = self._inspector.inspect
        if own_prefixes:
            inspect = partial(
                self._inspector.inspect, own_folders=[Folder(it) for it in own_prefixes]
            )
        statuses = [answer or unknown for answer in await self._inspect_all(inspect, paths)]
        missing = [
            path for path, it in zip(paths, statuses, strict=True) if it.kind is PathKind.MISSING
        ]
        if not missing:
            return statuses
        roots = await run_in_thread_if_large(len(missing), self._roots_of, missing)
        if unavailable := roots - await self.mounted(roots):
            prefixes = tuple(self._prefixes[root] for root in unavailable)
            return await run_in_thread_if_large(
                len(paths), _mark_unknown, paths, statuses, prefixes
            )
        return statuses

    async def contents_of(
        self, directories: Sequence[str], recursive: bool
    ) -> Sequence[DirectoryContent]:
        """The content of each directory, all within two seconds."""
        answers = await self._inspect_all(partial(content_of, recursive=recursive), directories)
        return [answer or DirectoryContent.UNKNOWN for answer in answers]

    def _roots_of(self, paths: Sequence[str]) -> AbstractSet[str]:
        """The mount points that hold the paths."""
        if len(self._prefixes) == 1:
            return set(self._prefixes)
        # Others are not inspected: they may hang, and reported nothing missing.
        return {
            root
            for root, prefix in self._prefixes.items()
            if any(f"{path}/".startswith(prefix) for path in paths)
        }

    async def _inspect_all(self, inspect: Inspect, paths: Sequence[str]) -> Sequence[Any]:
        """The result of ``inspect`` for each path; None without an answer in time."""
        batch = _Batch(inspect, paths)
        if paths and self._enqueue(batch):
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(STATS_SECONDS):
                        await self._add_threads_while_slow(batch)
                        await batch.done.wait()
            finally:
                self._abandon(batch)
        return batch.answers.copy()

    async def _add_threads_while_slow(self, batch: _Batch) -> None:
        """Give a batch more threads while its answers come slowly, up to all threads.

        With fast answers more threads would only take time from the event loop.
        """
        while (
            batch.max_threads < min(MAX_CONCURRENT_STATS, len(batch.paths))
            and not batch.done.is_set()
        ):
            before = batch.answered
            with suppress(TimeoutError):
                async with asyncio.timeout(SLICE_SECONDS):
                    await batch.done.wait()
            if batch.answered - before < FAST_ANSWERS:
                batch.max_threads *= 2
                self._wake_threads(batch)

    def _enqueue(self, batch: _Batch) -> bool:
        with self._changed:
            if self._stuck == MAX_CONCURRENT_STATS:
                return False
            self._batches.append(batch)
        self._wake_threads(batch)
        return True

    def _wake_threads(self, batch: _Batch) -> None:
        with self._changed:
            needed = max(
                0, min(batch.max_threads, len(batch.paths)) - (batch.taken - batch.answered)
            )
            woken = min(needed, self._idle)
            self._changed.notify(woken)
            # Here, not when it wakes: until then it would count as idle for other batches.
            self._idle -= woken
            new = min(needed - woken, MAX_CONCURRENT_STATS - self._threads)
            self._threads += new
        for _ in range(new):
            threading.Thread(target=self._serve, name="mount-stat", daemon=True).start()

    def _abandon(self, batch: _Batch) -> None:
        with self._changed:
            batch.is_abandoned = True
            self._stuck += batch.taken - batch.answered
            self._batches.remove(batch)

    def _serve(self) -> None:
        while True:
            batch, number = self._next()
            answer = batch.inspect(batch.paths[number])
            with self._changed:
                batch.answers[number] = answer
                batch.answered += 1
                self._stuck -= batch.is_abandoned
                is_done = batch.answered == len(batch.paths)
            if is_done:
                batch.finish()

    def _next(self) -> tuple[_Batch, int]:
        """The next path to inspect, round-robin over batches: small ones end soon."""
        with self._changed:
            while (batch := self._next_batch()) is None:
                self._idle += 1
                self._changed.wait()
            batch.taken += 1
            return batch, batch.taken - 1

    def _next_batch(self) -> _Batch | None:
        for _ in range(len(self._batches)):
            self._batches.rotate(-1)
            if self._batches[-1].has_work:
                return self._batches[-1]
        return None


def _mark_unknown(
    paths: Sequence[str], statuses: Sequence[PathStatus], prefixes: tuple[str, ...]
) -> list[PathStatus]:
    """The statuses, with UNKNOWN for missing paths that begin with one of ``prefixes``."""
    unknown = PathStatus(PathKind.UNKNOWN)
    return [
        unknown if it.kind is PathKind.MISSING and f"{path}/".startswith(prefixes) else it
        for path, it in zip(paths, statuses, strict=True)
    ]
