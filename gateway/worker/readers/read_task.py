"""A file to read, its progress and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(slots=True, eq=False)
class ReadTask:
    """A file to read. Compared by identity: the same file may be read twice."""

    item_id: int
    job_id: str  # canonical UUID
    path: str  # absolute, below the pool's root
    size: int  # planned bytes, 0 if unknown
    # Written only by the reading thread, or under the lock of the threads that share the file.
    # Storing a reference is atomic, so the event loop may read it at any time.
    bytes_read: int = 0
    # Set only by the event loop, checked by the reading threads before they open and around each
    # read.
    cancelled: bool = False


class ReadOutcome(NamedTuple):
    """How the read of a file ended.

    ``error`` is None if it was read to its end or cancelled, else a short reason for people to
    read. ``seconds`` is the time since the thread took the task.
    """

    task: ReadTask
    error: str | None
    cancelled: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class ReadState:
    """A read under way: its duration, and the time since its last byte, in seconds.

    ``helps``: another reader owns the file.
    """

    task: ReadTask
    helps: bool
    seconds: float
    silence: float
