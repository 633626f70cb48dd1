"""The threads that read files. A thread that hangs is replaced."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Final

from gateway.logs.fault_log import FaultLog
from gateway.worker.readers.file_source import FileSource, PosixFiles
from gateway.worker.readers.parallel_read import ParallelReads
from gateway.worker.readers.read_task import ReadOutcome, ReadTask
from gateway.worker.readers.reader import PoolContext, Reader, Work
from gateway.worker.readers.throttle import Throttle
from gateway.worker.readers.transient_errors import TransientErrors
from gateway.worker.timers import Timers

# A cancelled read is given up after this many seconds without a byte, hung or merely slow.
CANCEL_PATIENCE: Final = 0.5
# This many large files keep all readers busy. More of them, all begun and none ended, would only
# keep the files of other jobs waiting.
MAX_CONCURRENT_LARGE: Final = 16

logger = logging.getLogger(__name__)


class ReaderPool:
    """Reads files below ``root``, up to ``concurrency`` at once, in chunks of ``chunk_size`` bytes.

    ``on_outcomes`` is called from a reading thread (or `check_stalled`) when there is something
    to `drain`. It is not called again before the next drain, except when the last task ends. A
    call that was under way may come just after a drain, which then finds nothing new. It must not
    block. A read without a byte for ``read_timeout`` seconds fails, see `check_stalled`. ``source``
    replaces the real files below ``root``. ``timers``: see `Timers.stuck` and `Timers.mount`.

    All methods are for the event loop's thread; only `close` may run in another.
    """

    # A task is settled by the thread that removes it from `_unfinished` under the lock: the reader
    # that read it, check_stalled() that gave it up, or close() that returns it. So each task comes
    # out exactly once, and the late outcome of an abandoned reader is ignored.

    def __init__(
        self,
        root: str,
        *,
        concurrency: int,
        chunk_size: int,
        read_timeout: float,
        on_outcomes: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
        source: FileSource | None = None,
        throttle: Throttle | None = None,
        timers: Timers = Timers(),  # noqa: B008 - it is frozen
    ) -> None:
        self._timers = timers
        self._transient_errors = TransientErrors(root, timers.mount)
        self._thread_faults = FaultLog(logger, "All threads to read files with could be started")
        self._concurrency = concurrency
        self._large = max(1, concurrency // MAX_CONCURRENT_LARGE)
        self._read_timeout = read_timeout
        self._on_outcomes = on_outcomes
        self._clock = clock
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Work] = SimpleQueue()
        self._parallel_reads: ParallelReads[Reader] = ParallelReads()
        self._context = PoolContext(
            source=source or PosixFiles(root),
            queue=self._queue,
            parallel_reads=self._parallel_reads,
            finish=self._settle,
            call_helpers=self._call_helpers,
            chunk_size=chunk_size,
            clock=clock,
            transient_errors=self._transient_errors,
            throttle=throttle or Throttle(),
        )
        self._unfinished: dict[ReadTask, int] = {}  # with the places of each, in order
        self._places = 0
        self._outcomes: list[ReadOutcome] = []
        self._is_notified = False
        self._closed = False
        self._is_stuck = False
        self._readers: list[Reader] = []
        self._abandoned: list[Reader] = []
        self._abandoned_bytes = 0

    @property
    def unfinished(self) -> int:
        """Submitted tasks that have no outcome yet, waiting or being read."""
        return len(self._unfinished)

    @property
    def places(self) -> int:
        """Readers that the unfinished tasks are worth: a large file is read by several."""
        return self._places

    @property
    def hung(self) -> int:
        """Abandoned threads that still hang in a read."""
        return sum(reader.is_alive() for reader in self._abandoned)

    @property
    def bytes_read(self) -> int:
        """Bytes read since the pool was made; never falls."""
        return self._abandoned_bytes + sum(reader.bytes_read for reader in self._readers)

    @property
    def is_mount_gone(self) -> bool:
        """Whether tasks wait for the mount to come back. No read fails while it is gone."""
        return self._transient_errors.is_mount_gone and self.unfinished > 0

    @property
    def is_held_up(self) -> bool:
        """Whether the mount is gone or hangs: more tasks would only wait.

        It hangs if all readers have waited for a byte for ``timers.stuck`` seconds.
        """
        return self.is_mount_gone or (self._is_stuck and self.unfinished > 0)

    def submit(self, *tasks: ReadTask) -> None:
        """Queue tasks; never waits. Raises RuntimeError on a closed pool or a task in it."""
        places = {task: self._places_of(task) for task in tasks}
        with self._lock:
            if self._closed:
                raise RuntimeError("The reader pool is closed")
            if not self._unfinished.keys().isdisjoint(places):
                raise RuntimeError("The task is already being read")
            self._unfinished.update(places)
            self._places += sum(places.values())
        for task in places:
            self._queue.put(task)
        self._staff()

    def _places_of(self, task: ReadTask) -> int:
        return self._large if task.size > self._context.chunk_size else 1

    def drain(self) -> list[ReadOutcome]:
        """Everything that ended since the last call, in the order in which it ended."""
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
            self._is_notified = False
        return outcomes

    def check_stalled(self) -> int:
        """Give up reads that get no bytes; returns how many. To be called about once a second.

        Such a read ends with "No data for … seconds" and its thread is replaced, so that reads
        that hang never use up the concurrency. A cancelled one ends as cancelled, within a
        second or so.
        """
        now = self._clock()
        given_up = sum(self._give_up_if_stalled(reader, now) for reader in tuple(self._readers))
        self._dismiss([reader for reader in self._readers if not reader.is_alive()])
        self._staff()
        busy = len(self._readers) == self._concurrency
        self._is_stuck = busy and all(self._is_silent(reader, now) for reader in self._readers)
        return given_up

    def stop(self) -> None:
        """Accept no more tasks, and have the readers stop at their next chunk. For any thread."""
        with self._lock:
            self._closed = True
            readers = tuple(self._readers)
        for reader in readers:
            reader.stopped = True
            self._queue.put(None)
        self._transient_errors.release()

    def close(self, timeout: float = 0.0) -> list[ReadTask]:
        """Stop reading; returns the tasks that were not read to their end, oldest first.

        Readers stop at their next chunk. Those that take longer than ``timeout`` seconds, by the
        real clock, are abandoned. What has ended meanwhile is there to `drain`.
        """
        self.stop()
        deadline = time.monotonic() + timeout
        for reader in tuple(self._readers):
            reader.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            unfinished = list(self._unfinished)
            self._unfinished.clear()
            self._places = 0
        return unfinished

    def _staff(self) -> None:
        """Start the threads that the unfinished tasks can use."""
        needed = self._needed_readers()
        while len(self._readers) < needed and not self._closed:
            try:
                self._start_reader()
            except (RuntimeError, OSError):
                # The system has no more threads or memory; check_stalled() tries again.
                self._thread_faults.begin(self, "A thread to read files with could not be started")
                return
        self._thread_faults.end(self)

    def _needed_readers(self) -> int:
        if self._parallel_reads.fewest_readers() is not None:
            return self._concurrency
        return min(self._concurrency, len(self._unfinished))

    def _start_reader(self) -> None:
        reader = Reader(self._context)
        with self._lock:
            if self._closed:
                return
            reader.start()
            self._readers.append(reader)

    def _settle(self, outcome: ReadOutcome) -> bool:
        """Add an outcome, from any thread; False if its task was settled before."""
        with self._lock:
            if outcome.task not in self._unfinished:
                return False
            self._places -= self._unfinished.pop(outcome.task)
            self._outcomes.append(outcome)
            is_new = not self._is_notified or not self._unfinished
            self._is_notified = True
        if is_new:
            self._notify()
        return True

    def _notify(self) -> None:
        try:
            self._on_outcomes()
        except Exception:
            # At the end of the process the event loop may be closed before the pool is.
            if not self._closed:
                logger.exception("Telling of files that were read failed")

    def _call_helpers(self) -> None:
        """Have idle readers help with the parallel reads. For any thread."""
        idle = sum(reader.task is None for reader in tuple(self._readers))
        for _ in range(idle - self._queue.qsize()):
            self._queue.put(self._parallel_reads)

    def _give_up_if_stalled(self, reader: Reader, now: float) -> bool:
        progress = None if reader.stopped else reader.look(now)
        if progress is None or progress.silence < self._patience(progress.task):
            return False
        task, cancelled = progress.task, progress.task.cancelled
        error = None if cancelled else f"No data for {_seconds(self._read_timeout)}"
        if not self._settle(ReadOutcome(task, error, cancelled, progress.seconds)):
            return False
        # Only now: a reader that ended the task this very moment goes on with another one. So may a
        # helper, and then the owner of the file ends its own thread.
        parallel = self._parallel_reads.find(task)
        if parallel is not None:
            self._abandon(parallel.give_up())
        elif not progress.helps:
            self._abandon((reader,))
        logger.warning("A read hangs and was given up: %r", task.path)
        return True

    def _is_silent(self, reader: Reader, now: float) -> bool:
        state = reader.look(now)
        return state is not None and state.silence >= self._timers.stuck

    def _patience(self, task: ReadTask) -> float:
        return min(CANCEL_PATIENCE, self._read_timeout) if task.cancelled else self._read_timeout

    def _abandon(self, readers: Sequence[Reader]) -> None:
        """Give up readers that hang, or that read the same file."""
        for reader in readers:
            reader.stopped = True
        self._abandoned = [*filter(Reader.is_alive, self._abandoned), *readers]
        self._dismiss(readers)

    def _dismiss(self, readers: Sequence[Reader]) -> None:
        """Make room for other readers, but keep count of what these have read."""
        for reader in readers:
            self._readers.remove(reader)
            self._abandoned_bytes += reader.bytes_read


def _seconds(seconds: float) -> str:
    return f"{seconds:g} second" if seconds == 1 else f"{seconds:g} seconds"
