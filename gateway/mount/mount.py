"""Looks at files through the mounts. One that hangs costs the caller two seconds, not more."""

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
# A mount that takes less than ten microseconds a path is fast: one thread is enough for it.
SLICE_SECONDS = 0.005
FAST_ANSWERS = 500

Look = Callable[[str], Any]


class _Batch:
    """Paths that are looked at together: one event, however many they are."""

    def __init__(self, inspect: Look, paths: Sequence[str]) -> None:
        self.inspect = inspect
        self.paths = paths
        self.answers: list[Any] = [None] * len(paths)
        self.taken = 0
        self.answered = 0
        self.at_once = 1
        self.is_given_up = False
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def has_work(self) -> bool:
        """Whether another thread may take a path of it."""
        return self.taken < len(self.paths) and self.taken - self.answered < self.at_once

    def finish(self) -> None:
        """Wake who waits, from any thread."""
        with suppress(RuntimeError):  # the loop may be closed by now
            self._loop.call_soon_threadsafe(self.done.set)


class Mount:
    """Asks the mounts at ``mount_points`` in daemon threads of its own, at most 32.

    A thread stuck in a hung mount stays stuck: it must neither hold up the exit of the process
    nor be followed by ever more of its kind, so no executor of the standard library will do. What
    nobody waits for any more is dropped, and while every thread is stuck nothing is taken in.
    ``allowed`` are the folders that alone may be cached, none: all.
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
        """Those mount points, of some or of all, that are directories with something in them."""
        asked = list(self._prefixes if mount_points is None else mount_points)
        answers = await self._ask(has_entries, asked)
        return {root for root, has_any in zip(asked, answers, strict=True) if has_any}

    async def stat_all(self, paths: Sequence[str], own: Sequence[str] = ()) -> list[PathStatus]:
        """Look at each path, all within two seconds; what was not answered by then is UNKNOWN.

        So is what is missing where the mount point is not visible: there everything is missing.
        ``own`` are the folders that alone the caller may cache, none: all.
        """
        unknown = PathStatus(PathKind.UNKNOWN)
        inspect: Look = self._inspector.inspect
        if own:
            inspect = partial(self._inspector.inspect, own=[Folder(it) for it in own])
        seen = [answer or unknown for answer in await self._ask(inspect, paths)]
        missing = [
            path for path, it in zip(paths, seen, strict=True) if it.kind is PathKind.MISSING
        ]
        if not missing:
            return seen
        roots = await run_in_thread_if_large(len(missing), self._roots_of, missing)
        if hidden := roots - await self.mounted(roots):
            prefixes = tuple(self._prefixes[root] for root in hidden)
            return await run_in_thread_if_large(len(paths), _mark_unknown, paths, seen, prefixes)
        return seen

    async def contents_of(
        self, directories: Sequence[str], recursive: bool
    ) -> Sequence[DirectoryContent]:
        """What is in each of the directories, all within two seconds."""
        answers = await self._ask(partial(content_of, recursive=recursive), directories)
        return [answer or DirectoryContent.UNKNOWN for answer in answers]

    def _roots_of(self, paths: Sequence[str]) -> AbstractSet[str]:
        """The mount points that paths lie at or below."""
        if len(self._prefixes) == 1:
            return set(self._prefixes)
        # One that hangs is not asked for the sake of the others: it said nothing to be missing.
        return {
            root
            for root, prefix in self._prefixes.items()
            if any(f"{path}/".startswith(prefix) for path in paths)
        }

    async def _ask(self, inspect: Look, paths: Sequence[str]) -> Sequence[Any]:
        """What ``look`` says of each path; None where there was no answer in time."""
        batch = _Batch(inspect, paths)
        if paths and self._take_in(batch):
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(STATS_SECONDS):
                        await self._add_threads_while_slow(batch)
                        await batch.done.wait()
            finally:
                self._give_up(batch)
        return batch.answers.copy()

    async def _add_threads_while_slow(self, batch: _Batch) -> None:
        """Give a batch more threads for as long as its answers come slowly, up to all of them.

        Where they come fast more threads would only keep the event loop from running.
        """
        while (
            batch.at_once < min(MAX_CONCURRENT_STATS, len(batch.paths)) and not batch.done.is_set()
        ):
            before = batch.answered
            with suppress(TimeoutError):
                async with asyncio.timeout(SLICE_SECONDS):
                    await batch.done.wait()
            if batch.answered - before < FAST_ANSWERS:
                batch.at_once *= 2
                self._call_threads(batch)

    def _take_in(self, batch: _Batch) -> bool:
        with self._changed:
            if self._stuck == MAX_CONCURRENT_STATS:
                return False
            self._batches.append(batch)
        self._call_threads(batch)
        return True

    def _call_threads(self, batch: _Batch) -> None:
        with self._changed:
            wanted = max(0, min(batch.at_once, len(batch.paths)) - (batch.taken - batch.answered))
            woken = min(wanted, self._idle)
            self._changed.notify(woken)
            # Here, not when it wakes: until then it would be promised to others, too.
            self._idle -= woken
            fresh = min(wanted - woken, MAX_CONCURRENT_STATS - self._threads)
            self._threads += fresh
        for _ in range(fresh):
            threading.Thread(target=self._serve, name="mount-stat", daemon=True).start()

    def _give_up(self, batch: _Batch) -> None:
        with self._changed:
            batch.is_given_up = True
            self._stuck += batch.taken - batch.answered
            self._batches.remove(batch)

    def _serve(self) -> None:
        while True:
            batch, number = self._next()
            answer = batch.inspect(batch.paths[number])
            with self._changed:
                batch.answers[number] = answer
                batch.answered += 1
                self._stuck -= batch.is_given_up
                is_done = batch.answered == len(batch.paths)
            if is_done:
                batch.finish()

    def _next(self) -> tuple[_Batch, int]:
        """The next path to look at. Each batch gives one in turn: a small one is soon done."""
        with self._changed:
            while (batch := self._choose()) is None:
                self._idle += 1
                self._changed.wait()
            batch.taken += 1
            return batch, batch.taken - 1

    def _choose(self) -> _Batch | None:
        for _ in range(len(self._batches)):
            self._batches.rotate(-1)
            if self._batches[-1].has_work:
                return self._batches[-1]
        return None


def _mark_unknown(
    paths: Sequence[str], seen: Sequence[PathStatus], prefixes: tuple[str, ...]
) -> list[PathStatus]:
    """What was seen, but unknown if it is missing and begins with a prefix."""
    unknown = PathStatus(PathKind.UNKNOWN)
    return [
        unknown if it.kind is PathKind.MISSING and f"{path}/".startswith(prefixes) else it
        for path, it in zip(paths, seen, strict=True)
    ]
