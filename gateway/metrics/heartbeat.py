"""A sign of life, and how long ago it was."""

from __future__ import annotations

import time
from collections.abc import Callable


class Heartbeat:
    """Whether a monitor sees what it watches, and since when it has not. ``clock`` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_healthy: bool | None = None
        """None until there was a sign of life, or none where one was due."""
        self._clock = clock
        self._ok_at = clock()
        self._is_finished = False

    @property
    def age(self) -> float | None:
        """Seconds since the last sign of life; since the start if there was none.

        None if no more is to come.
        """
        return None if self._is_finished else self._clock() - self._ok_at

    def finish(self) -> None:
        """There is nothing left to watch: the last sign of life does not grow old."""
        self._is_finished = True

    def ok(self) -> None:
        """There was a sign of life."""
        self.is_healthy = True
        self._ok_at = self._clock()

    def fail(self) -> bool:
        """There was none where one was due. Whether that is news."""
        was, self.is_healthy = self.is_healthy, False
        return was is not False
