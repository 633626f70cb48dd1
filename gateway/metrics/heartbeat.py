"""Tracks when a monitor last succeeded."""

from __future__ import annotations

import time
from collections.abc import Callable


class Heartbeat:
    """Whether a monitor is healthy, and when it last was. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_healthy: bool | None = None
        """None until the first `ok` or `fail`."""
        self._clock = clock
        self._ok_at = clock()
        self._is_finished = False

    @property
    def age(self) -> float | None:
        """Seconds since the last `ok`, or since the start; None once finished."""
        return None if self._is_finished else self._clock() - self._ok_at

    def finish(self) -> None:
        """Note that the monitor has ended: it has no age from now on."""
        self._is_finished = True

    def ok(self) -> None:
        """Note a success."""
        self.is_healthy = True
        self._ok_at = self._clock()

    def fail(self) -> bool:
        """Note a failure. Return whether it is the first after a success or the start."""
        was, self.is_healthy = self.is_healthy, False
        return was is not False
