"""One thread that reads files to their end, so that the TeamCache behind the mount keeps them."""

from __future__ import annotations

import logging
import mmap
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final

from gateway.worker.file_source import FileSource
from gateway.worker.lane import Lane
from gateway.worker.obstacle import AWAY, FIRST_PAUSE, LONGEST_PAUSE, Obstacles

# A chunk is read into one small buffer over and over: nobody looks at the bytes, and a buffer
# that stays in the processor's cache is faster and keeps hundreds of readers small.
BUFFER_SIZE: Final = 256 * 1024
# Far below every system's IOV_MAX.
MAX_BUFFERS: Final = 256
# Hundreds of threads that copy from memory would leave the event loop no processor.
NICENESS: Final = 10

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class ReadTask:
    """A file to be read. Compared by identity: the same file may be read twice."""

    item_id: int
    job_id: str  # canonical UUID
    path: str  # absolute, below the pool's root
    size: int  # planned bytes, 0 if unknown
    # Written by the reading thread alone, after each chunk; storing a reference is atomic, so
    # that the loop may look at any time.
    bytes_read: int = 0
    # Set by the loop alone; the reading thread looks before it opens and around each chunk.
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class ReadOutcome:
    """How reading a file ended.

    ``error`` is None when it was read to its end or cancelled, else a short reason fit for
    people. ``seconds`` is the time since the thread took the task.
    """

    task: ReadTask
    error: str | None
    cancelled: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class ReadState:
    """A read under way: how long it takes, and for how long no byte has come (seconds)."""

    task: ReadTask
    seconds: float
    silence: float


class Reader(threading.Thread):
    """Takes tasks from ``queue`` and reads them, one at a time, until told to stop.

    ``finish`` receives each outcome; it answers False when the task is no longer this reader's
    (it hung for too long), which ends the thread. None in the queue ends it too. A file that
    ``obstacles`` keep from being read is tried again until they are gone.

    A daemon: a read that hangs in the kernel must not hold up the end of the process.
    """

    def __init__(
        self,
        source: FileSource,
        queue: SimpleQueue[ReadTask | None],
        finish: Callable[[ReadOutcome], bool],
        chunk_size: int,
        clock: Callable[[], float],
        obstacles: Obstacles,
        lane: Lane | None = None,
    ) -> None:
        super().__init__(name="teamcache-reader", daemon=True)
        self._source = source
        self._queue = queue
        self._finish = finish
        self._chunk_size = chunk_size
        self._clock = clock
        self._obstacles = obstacles
        self._lane = lane
        self._buffers = _Buffers(chunk_size)
        # Set by others, looked at around each chunk.
        self.stopped = False
        # Written by this thread alone, looked at by others; each store is atomic.
        self.bytes_read = 0
        self.task: ReadTask | None = None
        self._tried_at = 0.0
        self._is_waiting = False
        # Used by the caller of look() alone.
        self._seen: tuple[ReadTask | None, float, int] = (None, 0.0, 0)
        self._seen_at = 0.0

    def run(self) -> None:
        """Read until stopped."""
        _give_way()
        while (task := self._queue.get()) is not None and not self.stopped:
            if not self._serve(task):
                return

    def look(self, now: float) -> ReadState | None:
        """What is being read, and since when without a byte, as of ``now``.

        None while idle, or while obstacles are waited for: no read hangs then. Only as fine as it
        is called often: the reader itself keeps no clock while it reads.
        """
        # In this order: a time that is too new does no harm, one that is too old would.
        task, is_waiting, tried_at = self.task, self._is_waiting, self._tried_at
        if task is None or is_waiting:
            return None
        seen = (task, tried_at, task.bytes_read)
        if self._seen != seen:
            self._seen, self._seen_at = seen, now if task.bytes_read else tried_at
        return ReadState(task, seconds=now - tried_at, silence=now - self._seen_at)

    def _serve(self, task: ReadTask) -> bool:
        # The time before the task: whoever sees the task sees a time that is not older.
        self._tried_at = taken_at = self._clock()
        task.bytes_read = 0
        self.task = task
        error, ended = self._persist(task)
        self._obstacles.end(self)
        self.task = None
        if not ended and not task.cancelled:
            return False
        return self._finish(ReadOutcome(task, error, not ended, self._clock() - taken_at))

    def _persist(self, task: ReadTask) -> tuple[str | None, bool]:
        """Try until no obstacle is to blame for how it ends, or nobody wants it any more."""
        pause, is_second = FIRST_PAUSE, False
        while True:
            error, ended = self._attempt(task)
            if not isinstance(error, OSError):
                return error, ended
            if not self._obstacles.are_to_blame(error, self):
                # A mount may have come back between the file and the look at the mount.
                if is_second or error.errno not in AWAY:
                    return error.strerror or type(error).__name__, True
                is_second = True
                continue
            is_second = False
            pause = self._wait(task, pause)

    def _wait(self, task: ReadTask, pause: float) -> float:
        """Sleep until it makes sense to try again; returns for how long to sleep next time."""
        while True:
            self._is_waiting = True
            self._obstacles.wait(pause)
            self._tried_at = self._clock()
            self._is_waiting = False
            pause = min(2 * pause, LONGEST_PAUSE)
            if self._is_unwanted(task) or not self._obstacles.stand():
                return pause

    def _is_unwanted(self, task: ReadTask) -> bool:
        return task.cancelled or self.stopped

    def _attempt(self, task: ReadTask) -> tuple[str | OSError | None, bool]:
        """Why the file could not be read, and whether we got to an end at all."""
        try:
            return None, not self._is_unwanted(task) and self._read(task)
        except OSError as error:
            return error, True
        except Exception as error:
            logger.exception("Reading %r failed unexpectedly", task.path)
            return type(error).__name__, True

    def _read(self, task: ReadTask) -> bool:
        """Read the file up to the size it was opened with; False if stopped or cancelled.

        A file that shrinks ends at its new end; one that grows (a live recording) would never
        end if it were followed.
        """
        source = self._source
        descriptor, size = source.open(task.path)
        offset = 0
        try:
            while offset < size:
                if self._is_unwanted(task):
                    return False
                count = self._read_chunk(descriptor, size - offset)
                if not count:
                    break
                offset += count
                task.bytes_read = offset
                self.bytes_read += count
                if size > self._chunk_size:
                    source.forget(descriptor, offset - count, count)
        finally:
            source.close(descriptor)
        return True

    def _read_chunk(self, descriptor: int, count: int) -> int:
        buffers = self._buffers.for_bytes(count)
        has_place = self._lane is not None and self._lane.enter()
        try:
            return self._source.read(descriptor, buffers)
        finally:
            if has_place and self._lane is not None:
                self._lane.leave()


def _give_way() -> None:
    """Let the other threads of the process go first, where threads have a priority of their own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class _Buffers:
    """One buffer, listed as often as a chunk needs it."""

    def __init__(self, chunk_size: int) -> None:
        wanted = max(BUFFER_SIZE, -(-chunk_size // MAX_BUFFERS))
        self._size = min(chunk_size, wanted)
        # Unlike a bytearray's, these pages take no memory before they are first read into.
        self._view = memoryview(mmap.mmap(-1, self._size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self._chunk_size = chunk_size
        self._chunk = self._listed(chunk_size)

    def for_bytes(self, count: int) -> list[memoryview]:
        """Buffers for ``count`` bytes, or for a whole chunk if that is less."""
        if count >= self._chunk_size:
            return self._chunk
        return self._listed(count)

    def _listed(self, count: int) -> list[memoryview]:
        whole, rest = divmod(count, self._size)
        listed = [self._view] * whole
        if rest:
            listed.append(self._view[:rest])
        return listed
