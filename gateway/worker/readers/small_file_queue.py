"""Small files that come from memory: one reader reads all of them, one after the other."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from gateway.worker.readers.read_task import ReadTask

# Of larger ones the copying takes longer than what threads lose to each other.
SMALL_SIZE: Final = 256 * 1024
# For so many files it is tried whether they come from memory.
PLENTY: Final = 128
# So long it is watched how many are read, in seconds, and how long one may take on average: reads
# from memory take a tenth of it, those through a daemon or from a disk longer.
WINDOW_SECONDS: Final = 0.05
MOST_SECONDS: Final = 0.00015
# Of so many windows: in one of them the processors may have had something else to do.
SLOW_WINDOWS: Final = 3
# A read that nothing has come of for so long hangs, or nearly.
HANG_SECONDS: Final = 0.1
# After files that had to be waited for it is tried again so much later, in seconds, and then twice
# as late each time.
FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 30.0


class ExpressLane:
    """Keeps small files for one reader at a time, as long as that is quick.

    Threads hand Python's lock to each other around each call to the system; where no call waits,
    two readers are slower than one. Where calls wait, many readers are faster: as soon as the one
    is no longer quick, its files go back into ``queue``, which all readers take their work from.
    The lane itself goes there, too, when files wait in it. ``clock`` is in seconds.
    """

    # `_turn` is whose turn it is: a reader that hangs keeps the old one, which counts no more.

    def __init__(
        self, queue: SimpleQueue[Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._waiting: deque[ReadTask] = deque()
        self._changing = threading.Lock()
        self._turn = threading.Lock()
        self._is_open = False
        self._retry_at = clock()
        self._pause = FIRST_PAUSE
        # Of the window that is being watched, by its reader alone.
        self._since = 0.0
        self._count = 0
        self._slow = 0
        # Used by the caller of check() alone.
        self._seen: tuple[object, ...] = ()
        self._seen_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether small files come from memory, as far as we know."""
        return self._is_open

    def take_in(self, tasks: Collection[ReadTask]) -> Collection[ReadTask]:
        """Take the small ones, if they are read here; returns the others. For the loop alone."""
        small, others = _divided(tasks)
        if not self._is_open:
            if len(small) < PLENTY or self._clock() < self._retry_at:
                return tasks
            self._open()
        self._waiting.extend(small)
        if small:
            self._queue.put(self)
        return others

    def enter(self) -> threading.Lock | None:
        """Be the one who reads here; None if there is nothing to read, or somebody is.

        Whoever enters must `leave`, and gets what others bring meanwhile.
        """
        if not self._is_open:
            self._spill()
        turn = self._turn
        if not self._waiting or not turn.acquire(blocking=False):
            return None
        self._since, self._count = self._clock(), 0
        return turn

    def take(self, turn: threading.Lock) -> ReadTask | None:
        """The next file for the one whose turn it is; None if it no longer is, or there is none."""
        now = self._clock()
        if now - self._since >= WINDOW_SECONDS and turn is self._turn:
            self._look_back(turn, now)
        if turn is not self._turn:
            return None
        self._count += 1
        # Not asked before: it may close meanwhile.
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def leave(self, turn: threading.Lock) -> None:
        """Read here no more."""
        turn.release()
        # Something may have come before the release, whose bringer saw the turn taken.
        if self._waiting:
            self._queue.put(self)

    def check(self) -> None:
        """Let others read what waits behind a read that hangs. For the loop, now and then."""
        turn, now = self._turn, self._clock()
        seen = (turn, self._since, self._count)
        if not turn.locked() or seen != self._seen:
            self._seen, self._seen_at = seen, now
        elif now - self._seen_at >= HANG_SECONDS:
            self._close(turn)

    def _look_back(self, turn: threading.Lock, now: float) -> None:
        """Close it to the one whose turn it is, if the last window was another slow one."""
        if self._count * MOST_SECONDS >= now - self._since:
            self._slow, self._pause = 0, FIRST_PAUSE
        else:
            self._slow += 1
        self._since, self._count = now, 0
        if self._slow >= SLOW_WINDOWS:
            self._close(turn)

    def _open(self) -> None:
        """Begin, together with what waits elsewhere: its readers would be in the way."""
        others: list[Any] = []
        with suppress(Empty):
            while True:
                work = self._queue.get_nowait()
                is_ours = isinstance(work, ReadTask) and _is_small(work)
                (self._waiting if is_ours else others).append(work)
        for work in others:
            self._queue.put(work)
        self._slow = 0
        self._is_open = True

    def _close(self, turn: threading.Lock) -> None:
        with self._changing:
            if turn is not self._turn:
                return  # somebody else did
            self._retry_at = self._clock() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._turn = threading.Lock()
            self._is_open = False
        self._spill()

    def _spill(self) -> None:
        # Others may spill, too: each file is taken out once.
        with suppress(IndexError):
            while True:
                self._queue.put(self._waiting.popleft())


def _divided(tasks: Collection[ReadTask]) -> tuple[Sequence[ReadTask], Sequence[ReadTask]]:
    small: list[ReadTask] = []
    others: list[ReadTask] = []
    for task in tasks:
        (small if _is_small(task) else others).append(task)
    return small, others


def _is_small(task: ReadTask) -> bool:
    return 0 < task.size <= SMALL_SIZE
