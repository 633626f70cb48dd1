"""A file to be read, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(slots=True, eq=False)
class ReadTask:
    """A file to be read. Compared by identity: the same file may be read twice."""

    item_id: int
    job_id: str  # canonical UUID
    path: str  # absolute, below the pool's root
    size: int  # planned bytes, 0 if unknown
    # Written by the reading thread alone, or under the lock of the threads that share the file;
    # storing a reference is atomic, so that the loop may look at any time.
    bytes_read: int = 0
    # Set by the loop alone; the reading threads look before they open and around each read.
    cancelled: bool = False


class ReadOutcome(NamedTuple):
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
    """A read under way: how long it takes, and for how long no byte has come (seconds).

    ``helps``: the file is another reader's.
    """

    task: ReadTask
    helps: bool
    seconds: float
    silence: float
