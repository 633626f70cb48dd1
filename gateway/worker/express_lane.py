"""Small files that come from memory: one reader reads all of them, one after the other."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from gateway.worker.read_task import ReadTask

# Of larger ones the copying takes longer than what threads lose to each other.
SMALL_SIZE: Final = 256 * 1024
# For so many files it is tried whether they come from memory; of fewer, all are read at once.
PLENTY: Final = 128
# So long it is watched how many are read, in seconds, and how long one may take on average: reads
# from memory take a tenth of it, those through a daemon or from a disk longer.
WINDOW_SECONDS: Final = 0.05
MOST_SECONDS: Final = 0.00015
# After files that had to be waited for, it is tried again so much later, in seconds.
RETRY_SECONDS: Final = 2.0


class ExpressLane:
    """Keeps small files for one reader at a time, as long as that is quick.

    Threads hand Python's lock to each other around each call to the system; where no call waits,
    two readers are slower than one. Where calls wait, many readers are faster: as soon as the one
    is no longer quick, its files go back into ``queue``, which all readers take tasks from.
    """

    def __init__(
        self, queue: SimpleQueue[Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._waiting: deque[ReadTask] = deque()
        self._turn = threading.Lock()
        self._is_open = False
        self._retry_at = clock()
        # Of the window that is being watched.
        self._since = 0.0
        self._count = 0

    @property
    def is_open(self) -> bool:
        """Whether small files are read here, as far as is known."""
        return self._is_open

    def take_in(self, tasks: Collection[ReadTask]) -> Collection[ReadTask]:
        """Take the small files, if they are read here; returns the others. For the loop alone.

        Whoever calls it puts the lane into the queue afterwards, if anything waits in it.
        """
        small = [task for task in tasks if _is_small(task)]
        if not self._is_open:
            if len(small) < PLENTY or self._clock() < self._retry_at:
                return tasks
            self._open()
        self._waiting.extend(small)
        return [task for task in tasks if not _is_small(task)]

    @property
    def has_work(self) -> bool:
        """Whether files wait here."""
        return bool(self._waiting)

    def enter(self) -> threading.Lock | None:
        """Be the one who reads here; returns what to release afterwards, None if there is nothing.

        Whoever is that one sees what others bring meanwhile. After the release it is to be asked
        again: something may have come just before it.
        """
        if not self._is_open:
            self._spill()
        turn = self._turn
        if not self._waiting or not turn.acquire(blocking=False):
            return None
        self._since, self._count = self._clock(), 0
        return turn

    def next(self) -> ReadTask | None:
        """The next file for the one who reads here; None if there is none, or none any more."""
        now = self._clock()
        if now - self._since >= WINDOW_SECONDS:
            if self._count * MOST_SECONDS < WINDOW_SECONDS:
                self._close()
                return None
            self._since, self._count = now, 0
        self._count += 1
        return self._waiting.popleft() if self._waiting else None

    def check(self) -> None:
        """Let others read what waits behind a read that hangs. To be called now and then."""
        if self._turn.locked() and self._clock() - self._since >= 2 * WINDOW_SECONDS:
            self._close()

    def _open(self) -> None:
        """Begin, together with what waits elsewhere: its readers would be in the way."""
        self._is_open = True
        others: list[Any] = []
        with suppress(Empty):
            while True:
                work = self._queue.get_nowait()
                is_ours = isinstance(work, ReadTask) and _is_small(work)
                (self._waiting if is_ours else others).append(work)
        for work in others:
            self._queue.put(work)

    def _close(self) -> None:
        self._is_open = False
        self._retry_at = self._clock() + RETRY_SECONDS
        # Whoever hangs keeps the old one.
        self._turn = threading.Lock()
        self._spill()

    def _spill(self) -> None:
        # Others may spill, too: each file is taken out once.
        with suppress(IndexError):
            while True:
                self._queue.put(self._waiting.popleft())


def _is_small(task: ReadTask) -> bool:
    return 0 < task.size <= SMALL_SIZE
