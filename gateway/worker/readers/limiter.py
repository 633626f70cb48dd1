"""How many readers copy at once where files come from memory."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, Self

# Threads that copy at once need a processor each: with hundreds none is left for the event loop.
WIDTH: Final = 16
# A read that takes longer waits for a disk or a network, and costs no processor meanwhile.
PATIENCE: Final = 0.05
# For so long nobody asks again whether reads wait, in seconds.
OPEN_SECONDS: Final = 2.0


class Lane:
    """Lets few readers in at a time, as long as each is out again soon; else all of them."""

    def __init__(self, open_until: float = 0.0) -> None:
        # A queue is a semaphore that takes no lock of Python's for what is done per file.
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(WIDTH):
            self._places.put(None)
        self._open_until = open_until

    @classmethod
    def for_readers(cls, count: int) -> Self:
        """A lane for so many readers together; always open if there is a place for each of them."""
        return cls() if count > WIDTH else cls(open_until=math.inf)

    @property
    def is_open(self) -> bool:
        """Whether reads wait, so that any number of readers may read at once."""
        return time.monotonic() < self._open_until

    def enter(self) -> float:
        """Wait for a place, briefly; returns what to `leave` it with, 0 if there is none."""
        if self.is_open:
            return 0.0
        with suppress(Empty):
            self._places.get(timeout=PATIENCE)
            return time.monotonic()
        self._open()
        return 0.0

    def leave(self, entered: float) -> None:
        """Give the place back, if there is one."""
        if entered:
            self._places.put(None)
            if time.monotonic() - entered >= PATIENCE:
                self._open()

    def _open(self) -> None:
        # Of one that is always open the time must not become an earlier one.
        self._open_until = max(self._open_until, time.monotonic() + OPEN_SECONDS)
