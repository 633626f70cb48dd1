"""Looks at files through the mount. A mount that hangs costs the caller two seconds, not more."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from queue import SimpleQueue
from typing import Any

STATS_AT_ONCE = 32
STATS_SECONDS = 2.0


class Kind(Enum):
    """What a path turned out to be."""

    FILE = auto()
    DIRECTORY = auto()
    MISSING = auto()
    UNKNOWN = auto()
    """The mount did not answer in time, or cannot be asked."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a stat says: the kind, and a file's size in bytes (else 0)."""

    kind: Kind
    size: int = 0


class Mount:
    """Asks the mount in daemon threads of its own, at most 32.

    A thread stuck in a hung mount stays stuck: it must neither hold up the exit of the process
    nor be followed by ever more of its kind, so no executor of the standard library will do.
    """

    def __init__(self, mount_point: str) -> None:
        self._mount_point = mount_point
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads = 0

    async def is_visible(self) -> bool:
        """Whether the mount point is a directory with something in it."""
        return bool(await self._ask(_has_entries, self._mount_point, STATS_SECONDS))

    async def look_at(self, paths: Sequence[str]) -> list[Seen]:
        """Stat each path, all within two seconds; what was not answered by then is UNKNOWN."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STATS_SECONDS
        answers = [self._ask(_look, path, deadline - loop.time()) for path in paths]
        return [seen or Seen(Kind.UNKNOWN) for seen in await asyncio.gather(*answers)]

    async def _ask(self, question: Callable[[str], Any], path: str, seconds: float) -> Any:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def work() -> None:
            if not answer.done():
                result = question(path)
                with suppress(RuntimeError):  # the loop may be closed by now
                    loop.call_soon_threadsafe(_resolve, answer, result)

        self._tasks.put(work)
        self._start_thread()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await answer
        return None

    def _start_thread(self) -> None:
        if self._threads < STATS_AT_ONCE:
            self._threads += 1
            threading.Thread(target=self._serve, name="mount-stat", daemon=True).start()

    def _serve(self) -> None:
        while True:
            self._tasks.get()()


def _resolve(answer: asyncio.Future[Any], result: Any) -> None:
    if not answer.done():
        answer.set_result(result)


def _has_entries(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _look(path: str) -> Seen:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Seen(Kind.MISSING)
    except (OSError, ValueError):
        return Seen(Kind.UNKNOWN)
    if stat.S_ISDIR(found.st_mode):
        return Seen(Kind.DIRECTORY)
    return Seen(Kind.FILE, found.st_size)
