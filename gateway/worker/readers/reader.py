"""A thread that reads files to their end, so that the TeamCache behind the mount keeps them."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final, TypeAlias

from gateway.worker.readers.buffers import Buffers
from gateway.worker.readers.file_source import FileSource
from gateway.worker.readers.parallel_read import SLOW_SECONDS, Chunk, ParallelRead, ParallelReads
from gateway.worker.readers.read_task import ReadOutcome, ReadState, ReadTask
from gateway.worker.readers.throttle import Throttle
from gateway.worker.readers.transient_errors import (
    FIRST_PAUSE,
    MOUNT_GONE_ERRORS,
    TransientErrors,
)

# Hundreds of threads that copy from memory would leave the event loop no processor.
NICENESS: Final = 10

logger = logging.getLogger(__name__)


Work: TypeAlias = "ReadTask | ParallelReads[Reader] | None"


@dataclass(frozen=True, slots=True)
class PoolContext:
    """What the readers of a pool share.

    ``queue`` holds what to do: a task; or the parallel reads, which need helpers; or None, which
    ends a thread. ``finish`` receives each outcome. It returns False when the task is no longer the
    reader's (it hung for too long), which ends the thread. ``call_helpers`` asks idle readers to
    help with parallel reads.
    """

    source: FileSource
    queue: SimpleQueue[Work]
    parallel_reads: ParallelReads[Reader]
    finish: Callable[[ReadOutcome], bool]
    call_helpers: Callable[[], None]
    chunk_size: int
    clock: Callable[[], float]
    transient_errors: TransientErrors
    throttle: Throttle


class Reader(threading.Thread):
    """Takes tasks from the queue and reads them, one at a time, until it is stopped.

    Idle readers help with a file of more than a chunk, as long as its chunks have to be waited for.
    A file that meets a transient error is tried again until the error is gone.

    A daemon thread: a read that hangs in the kernel must not hold up the end of the process.
    """

    def __init__(self, context: PoolContext) -> None:
        super().__init__(name="teamcache-reader", daemon=True)
        self._context = context
        self._clock = context.clock
        self._source = context.source
        self._buffers = Buffers(context.chunk_size)
        # Set by other threads, checked around each read.
        self.stopped = False
        # Written only by this thread, read by others; each store is atomic.
        self.bytes_read = 0
        self.task: ReadTask | None = None
        self._tried_at = 0.0
        self._helps = False
        self._had_read = 0
        self._is_waiting = False
        self._awaits_others = False
        # Used only by the caller of look().
        self._seen: tuple[ReadTask | None, float, int, int] = (None, 0.0, 0, 0)
        self._seen_at = 0.0

    def run(self) -> None:
        """Read until stopped."""
        _lower_priority()
        while (work := self._context.queue.get()) is not None and not self.stopped:
            if not self._do(work):
                return

    def _do(self, work: ReadTask | ParallelReads[Reader]) -> bool:
        """False if this thread is to end."""
        return self._serve(work) if isinstance(work, ReadTask) else self._help()

    def look(self, now: float) -> ReadState | None:
        """The read under way as of ``now``.

        None while idle, or while waiting for the throttle or for a transient error to go: no read
        hangs then. Its precision is the interval of the calls: a reader does not look at the clock
        while it reads.
        """
        # In this order: a time that is too new does no harm, a time that is too old does.
        task, is_waiting, helps = self.task, self._is_waiting, self._helps
        tried_at = self._tried_at
        if task is None or is_waiting:
            return None
        others = task.bytes_read if self._awaits_others else 0
        seen = (task, tried_at, self.bytes_read, others)
        if self._seen != seen:
            has_moved = others or self.bytes_read > self._had_read
            self._seen, self._seen_at = seen, now if has_moved else tried_at
        return ReadState(task, helps, seconds=now - tried_at, silence=now - self._seen_at)

    def _begin(self, task: ReadTask, *, helps: bool) -> float:
        """Publish what is read from now on; returns the time."""
        # The task last: a thread that sees it sees a time that is not older.
        self._had_read = self.bytes_read
        self._tried_at = now = self._clock()
        self._helps = helps
        self.task = task
        return now

    def _serve(self, task: ReadTask) -> bool:
        task.bytes_read = 0
        taken_at = self._begin(task, helps=False)
        error, ended = self._read_with_retries(task)
        self._context.transient_errors.end(self)
        self.task = None
        if not ended and not task.cancelled:
            return False
        return self._context.finish(ReadOutcome(task, error, not ended, self._clock() - taken_at))

    def _read_with_retries(self, task: ReadTask) -> tuple[str | None, bool]:
        """Try again after transient errors, unless cancelled: (error, whether it ended)."""
        pause, is_second = FIRST_PAUSE, False
        while True:
            error, ended = self._attempt(task)
            if not isinstance(error, OSError):
                return error, ended
            if not self._context.transient_errors.is_transient(error, self):
                # A mount may have come back between the file and the look at the mount.
                if is_second or error.errno not in MOUNT_GONE_ERRORS:
                    return error.strerror or type(error).__name__, True
                is_second = True
                continue
            is_second = False
            pause = self._wait(task, pause)

    def _wait(self, task: ReadTask, pause: float) -> float:
        """Sleep until it makes sense to try again; returns the next pause in seconds."""
        transient_errors = self._context.transient_errors
        while True:
            self._is_waiting = True
            transient_errors.wait(pause)
            self._read_on()
            pause = min(2 * pause, transient_errors.look_seconds)
            if self._is_cancelled(task) or not transient_errors.persist():
                return pause

    def _read_on(self) -> None:
        """End a wait that was not for bytes."""
        self._tried_at = self._clock()
        self._is_waiting = False

    def _is_cancelled(self, task: ReadTask) -> bool:
        return task.cancelled or self.stopped

    def _attempt(self, task: ReadTask) -> tuple[str | OSError | None, bool]:
        """Read the file once: (error, whether it ended)."""
        try:
            return None, not self._is_cancelled(task) and self._read(task)
        except OSError as error:
            return error, True
        except Exception as error:
            logger.exception("Reading %r failed unexpectedly", task.path)
            return type(error).__name__, True

    def _read(self, task: ReadTask) -> bool:
        """Read the file up to its size when it was opened; False if stopped or cancelled.

        A file that shrinks ends at its new end. A file that grows, as a live recording does, is not
        followed: it might never end.
        """
        chunk_size = self._context.chunk_size
        descriptor, size = self._source.open(task.path)
        if size <= chunk_size:
            return self._read_small(task, descriptor, size)
        return self._read_large(ParallelRead(self._source, task, descriptor, size, chunk_size))

    def _read_small(self, task: ReadTask, descriptor: int, size: int) -> bool:
        offset = 0
        try:
            while offset < size:
                count = self._acquire_bytes(task, size - offset)
                if not count:
                    return False
                got = self._fetch(descriptor, offset, count)
                if not got:
                    break
                offset += got
                task.bytes_read = offset
        finally:
            self._source.close(descriptor)
        return True

    def _read_large(self, parallel: ParallelRead[Reader]) -> bool:
        """Read chunks until none is left, and wait for the helpers."""
        chunk = parallel.join(self)
        self._context.parallel_reads.add(parallel)
        while chunk is not None:
            self._read_chunk(parallel, chunk)
            if parallel.wants_help:
                self._context.call_helpers()
            chunk = parallel.take()
        self._awaits_others = True
        parallel.wait_for_others()
        self._awaits_others = False
        self._context.parallel_reads.remove(parallel)
        return parallel.leave(self) and parallel.is_whole()

    def _help(self) -> bool:
        """Read chunks of large files until a task waits; False if a file was given up."""
        while (parallel := self._context.parallel_reads.fewest_readers()) is not None:
            chunk = parallel.join(self)
            if chunk is not None and not self._help_with(parallel, chunk):
                return False
            # Only after a chunk: what is in the queue may be another call for help.
            if self.stopped or not self._context.queue.empty():
                break
        return True

    def _help_with(self, parallel: ParallelRead[Reader], chunk: Chunk) -> bool:
        self._begin(parallel.task, helps=True)
        self._read_chunk(parallel, chunk)
        self.task = None
        return parallel.leave(self)

    def _read_chunk(self, parallel: ParallelRead[Reader], chunk: Chunk) -> None:
        """Read a chunk, or stop the others, which would be read for nothing."""
        try:
            if not self._read_pieces(parallel, chunk):
                parallel.stop()
        except Exception as error:  # noqa: BLE001 - the owner raises it
            parallel.fail(error)

    def _read_pieces(self, parallel: ParallelRead[Reader], chunk: Chunk) -> bool:
        offset, end = chunk.offset, chunk.offset + chunk.count
        while offset < end:
            count = self._acquire_bytes(parallel.task, end - offset)
            if not count:
                return False
            started = self._clock()
            got = self._fetch(parallel.descriptor, offset, count)
            parallel.is_slow = self._clock() - started >= SLOW_SECONDS
            if not got:
                parallel.end_at(offset)
                break
            parallel.arrived(got)
            self._source.forget(parallel.descriptor, offset, got)
            offset += got
        return True

    def _acquire_bytes(self, task: ReadTask, requested: int) -> int:
        """How many of the requested bytes may be read now, after a wait; 0 if cancelled."""
        if self._is_cancelled(task):
            return 0
        throttle = self._context.throttle
        if not throttle.is_on:
            return requested
        self._is_waiting = True
        count = throttle.take(requested, lambda: self._is_cancelled(task))
        self._read_on()
        return count

    def _fetch(self, descriptor: int, offset: int, count: int) -> int:
        got = self._source.read(descriptor, self._buffers.for_bytes(count), offset)
        self.bytes_read += got
        if got < count:
            self._context.throttle.refund(count - got)
        return got


def _lower_priority() -> None:
    """Let the other threads of the process go first, on systems where threads have a priority."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
