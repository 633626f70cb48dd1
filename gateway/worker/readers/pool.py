"""The threads that read: as many as wanted, and always that many, whatever hangs."""

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

# A cancelled file is let go of after this many seconds without a byte, hung or merely slow.
CANCEL_PATIENCE: Final = 0.5
# So many large files keep all readers busy: more of them, all begun and none ended, would only
# keep the files of other jobs waiting.
MAX_CONCURRENT_LARGE: Final = 16
# Readers that all wait for a byte for so many seconds have met a mount that hangs.
STUCK_SECONDS: Final = 10.0

logger = logging.getLogger(__name__)


class ReaderPool:
    """Reads files below ``root``, up to ``concurrency`` at once, in chunks of ``chunk_size`` bytes.

    ``on_outcomes`` is called from a reading thread (or `check_stalled`) when there is something
    to `drain`: once, and not again before the next drain (a call that was under way may come
    just after one, and finds nothing new), but for when the last task ends. It must not block. A
    read without a byte for ``read_timeout`` seconds has failed, see `check_stalled`. ``source``
    stands in for the real files below ``root``, ``throttle`` for its own.

    All methods are for one thread, the event loop's; only `close` may also run in another.
    """

    # Who may settle a task? Whoever removes it from `_unfinished` under the lock: the reader
    # that read it, check_stalled() that gave it up, or close() that gives it back. So each task
    # comes out exactly once, and what an abandoned reader says late is not heard.

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
    ) -> None:
        self._transient_errors = TransientErrors(root)
        self._lack = FaultLog(logger, "All threads to read files with could be started")
        self._concurrency = concurrency
        self._large = max(1, concurrency // MAX_CONCURRENT_LARGE)
        self._read_timeout = read_timeout
        self._on_outcomes = on_outcomes
        self._clock = clock
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Work] = SimpleQueue()
        self._parallel_reads: ParallelReads[Reader] = ParallelReads()
        self._common = PoolContext(
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
        self._unfinished: dict[ReadTask, int] = {}  # the places of each, in their order
        self._places = 0
        self._outcomes: list[ReadOutcome] = []
        self._told = False
        self._closed = False
        self._is_stuck = False
        self._readers: list[Reader] = []
        self._abandoned: list[Reader] = []
        self._abandoned_bytes = 0

    @property
    def unfinished(self) -> int:
        """Tasks submitted that have no outcome yet, waiting or being read."""
        return len(self._unfinished)

    @property
    def places(self) -> int:
        """Readers that these tasks are worth: a large file is read by several."""
        return self._places

    @property
    def hung(self) -> int:
        """Threads that were given up and still hang in a read."""
        return sum(reader.is_alive() for reader in self._abandoned)

    @property
    def bytes_read(self) -> int:
        """Bytes read since the pool was made; never falls."""
        return self._abandoned_bytes + sum(reader.bytes_read for reader in self._readers)

    @property
    def is_mount_gone(self) -> bool:
        """Whether tasks wait for the mount to come back; no read fails for that."""
        return self._transient_errors.is_mount_gone and self.unfinished > 0

    @property
    def is_held_up(self) -> bool:
        """Whether the mount is gone or hangs, as far as we know: more tasks would only wait."""
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
        return self._large if task.size > self._common.chunk_size else 1

    def drain(self) -> list[ReadOutcome]:
        """Everything that ended since the last call, in the order in which it ended."""
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
            self._told = False
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
        self._is_stuck = busy and all(_is_silent(reader, now) for reader in self._readers)
        return given_up

    def stop(self) -> None:
        """Take nothing more in, and have the readers stop at their next chunk. From any thread."""
        with self._lock:
            self._closed = True
            readers = tuple(self._readers)
        for reader in readers:
            reader.stopped = True
            self._queue.put(None)
        self._transient_errors.release()

    def close(self, timeout: float = 0.0) -> list[ReadTask]:
        """Stop reading; returns the tasks that were not read to an end, oldest first.

        Readers stop at their next chunk; they get ``timeout`` seconds (real ones) to do so, and
        are left to themselves afterwards. What they ended meanwhile is there to `drain`.
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
        wanted = self._wanted()
        while len(self._readers) < wanted and not self._closed:
            try:
                self._start_reader()
            except (RuntimeError, OSError):
                # The system has no more threads or memory; check_stalled() tries again.
                self._lack.begin(self, "A thread to read files with could not be started")
                return
        self._lack.end(self)

    def _wanted(self) -> int:
        if self._parallel_reads.fewest_readers() is not None:
            return self._concurrency
        return min(self._concurrency, len(self._unfinished))

    def _start_reader(self) -> None:
        reader = Reader(self._common)
        with self._lock:
            if self._closed:
                return
            reader.start()
            self._readers.append(reader)

    def _settle(self, outcome: ReadOutcome) -> bool:
        """Take an outcome in, from any thread; False if its task was settled before."""
        with self._lock:
            if outcome.task not in self._unfinished:
                return False
            self._places -= self._unfinished.pop(outcome.task)
            self._outcomes.append(outcome)
            tell, self._told = not self._told or not self._unfinished, True
        if tell:
            self._tell()
        return True

    def _tell(self) -> None:
        try:
            self._on_outcomes()
        except Exception:
            # At the end of the process the loop may be closed before we are.
            if not self._closed:
                logger.exception("Telling of files that were read failed")

    def _call_helpers(self) -> None:
        """Have readers without work look at the board. From any thread."""
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
        # Not before: a reader that ended the task this very moment goes on with another one. So
        # may one that only helped; then whoever owns the file ends its thread by itself.
        shared = self._parallel_reads.find(task)
        if shared is not None:
            self._abandon(shared.give_up())
        elif not progress.helps:
            self._abandon((reader,))
        logger.warning("A read hangs and was given up: %r", task.path)
        return True

    def _patience(self, task: ReadTask) -> float:
        return min(CANCEL_PATIENCE, self._read_timeout) if task.cancelled else self._read_timeout

    def _abandon(self, readers: Sequence[Reader]) -> None:
        """Let go of those that hang, and of those that read the same file."""
        for reader in readers:
            reader.stopped = True
        self._abandoned = [*filter(Reader.is_alive, self._abandoned), *readers]
        self._dismiss(readers)

    def _dismiss(self, readers: Sequence[Reader]) -> None:
        """Have others take their places, but keep count of what they read."""
        for reader in readers:
            self._readers.remove(reader)
            self._abandoned_bytes += reader.bytes_read


def _seconds(seconds: float) -> str:
    return f"{seconds:g} second" if seconds == 1 else f"{seconds:g} seconds"


def _is_silent(reader: Reader, now: float) -> bool:
    state = reader.look(now)
    return state is not None and state.silence >= STUCK_SECONDS
