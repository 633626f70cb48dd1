"""Large files that several readers read at once, chunk by chunk."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from gateway.worker.readers.file_source import FileSource
from gateway.worker.readers.read_task import ReadTask

# A read that takes this many seconds waits for a disk or a network, so more readers help. Reads
# from memory take less, and more readers would only take processors from the event loop.
SLOW_SECONDS: Final = 0.01

Member = TypeVar("Member")


@dataclass(frozen=True, slots=True)
class Chunk:
    """``count`` bytes of a file from ``offset`` on, which one reader reads."""

    offset: int
    count: int


class ParallelRead(Generic[Member]):
    """An open file of ``size`` bytes, whose readers take its chunks in order.

    So its readers move through the file together, as a read-ahead would. The first reader owns the
    file: it stays until the others have left, and reports the outcome. The last one to leave closes
    the descriptor. All methods are for any thread.
    """

    def __init__(
        self, source: FileSource, task: ReadTask, descriptor: int, size: int, chunk_size: int
    ) -> None:
        self.task = task
        self.descriptor = descriptor
        self.is_slow = False
        """Whether the last read waited for its bytes. Set by its readers; each store is atomic."""
        self._source = source
        self._chunk_size = chunk_size
        self._changed = threading.Condition()
        self._members: set[Member] = set()
        self._next = 0
        self._end = size
        self._is_whole = True
        self._is_given_up = False
        self._error: Exception | None = None
        task.bytes_read = 0

    @property
    def wants_help(self) -> bool:
        """Whether more readers would make it faster."""
        return self.is_slow and self._next < self._end

    @property
    def members(self) -> int:
        """The number of its readers."""
        return len(self._members)

    def join(self, member: Member) -> Chunk | None:
        """Become a reader and take the next chunk; None, without joining, if no chunk is left."""
        with self._changed:
            chunk = self._take()
            if chunk is not None:
                self._members.add(member)
            return chunk

    def take(self) -> Chunk | None:
        """The next chunk for a reader that has joined; None if none is left."""
        with self._changed:
            return self._take()

    def _take(self) -> Chunk | None:
        if self._next >= self._end:
            return None
        chunk = Chunk(self._next, min(self._chunk_size, self._end - self._next))
        self._next += chunk.count
        return chunk

    def arrived(self, count: int) -> None:
        """Count bytes that were read."""
        with self._changed:
            self.task.bytes_read += count

    def end_at(self, offset: int) -> None:
        """The file was truncated: there is nothing from ``offset`` on."""
        with self._changed:
            self._end = min(self._end, offset)

    def stop(self) -> None:
        """Hand out no more chunks: one was left unread."""
        with self._changed:
            self._stop()

    def _stop(self) -> None:
        self._is_whole = False
        self._end = 0

    def fail(self, error: Exception) -> None:
        """The file cannot be read: the first error counts."""
        with self._changed:
            self._error = self._error or error
            self._stop()

    def leave(self, member: Member) -> bool:
        """Stop reading it; False if it was given up, and its readers with it."""
        with self._changed:
            self._members.remove(member)
            is_last = not self._members
            self._changed.notify_all()
        if is_last:
            self._source.close(self.descriptor)
        return not self._is_given_up

    def wait_for_others(self) -> None:
        """As the owner, wait until there is no other reader, or it was given up."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_given_up or len(self._members) == 1)

    def give_up(self) -> Sequence[Member]:
        """Abandon the file; returns the readers that have not left, whose threads are lost."""
        with self._changed:
            self._is_given_up = True
            self._stop()
            self._changed.notify_all()
            return tuple(self._members)

    def is_whole(self) -> bool:
        """Whether all of it was read. Raises the first error of a reader."""
        if self._error is not None:
            raise self._error
        return self._is_whole


class ParallelReads(Generic[Member]):
    """The large files that are being read, for idle readers to help with."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reads: list[ParallelRead[Member]] = []

    def add(self, read: ParallelRead[Member]) -> None:
        """Offer a file to helpers."""
        with self._lock:
            self._reads.append(read)

    def remove(self, read: ParallelRead[Member]) -> None:
        """Withdraw a file."""
        with self._lock:
            self._reads.remove(read)

    def find(self, task: ReadTask) -> ParallelRead[Member] | None:
        """The file of ``task``, if it is offered."""
        with self._lock:
            return next((read for read in self._reads if read.task is task), None)

    def fewest_readers(self) -> ParallelRead[Member] | None:
        """The file with the fewest readers among those that more would make faster."""
        with self._lock:
            slow = [read for read in self._reads if read.wants_help]
        return min(slow, key=lambda read: read.members, default=None)
