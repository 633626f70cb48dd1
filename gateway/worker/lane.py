"""How many readers copy at once where files come from memory."""

from __future__ import annotations

import threading
import time
from typing import Final, Self

# Threads that copy at once need a processor each: with hundreds none is left for the event loop.
WIDTH: Final = 16
# A read that takes longer waits for a disk or a network, and costs no processor meanwhile.
PATIENCE: Final = 0.05
# For so long nobody asks again whether reads wait, in seconds.
OPEN_SECONDS: Final = 2.0


class Lane:
    """Lets few readers in at a time, as long as each is out again soon; else all of them."""

    def __init__(self) -> None:
        self._places = threading.Semaphore(WIDTH)
        self._open_until = 0.0

    @classmethod
    def for_readers(cls, count: int) -> Self | None:
        """A lane for so many readers together; None if there is a place for each of them."""
        return cls() if count > WIDTH else None

    def enter(self) -> bool:
        """Wait for a place, briefly; True if there is one to be given back with `leave`."""
        if time.monotonic() < self._open_until:
            return False
        if self._places.acquire(timeout=PATIENCE):
            return True
        self._open_until = time.monotonic() + OPEN_SECONDS
        return False

    def leave(self) -> None:
        """Give the place back."""
        self._places.release()
