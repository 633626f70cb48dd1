"""Logs a lasting fault when it begins and when it ends, not at each attempt in between."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Final

# A recurring fault is logged at most once in this many seconds.
QUIET_SECONDS: Final = 10.0


class FaultLog:
    """A fault, active while it affects at least one key. Thread-safe.

    ``end_message`` is logged when it ends. ``clock`` is in seconds.
    """

    def __init__(
        self, log: logging.Logger, end_message: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._end_message = end_message
        self._clock = clock
        self._lock = threading.Lock()
        self._affected: set[Hashable] = set()
        self._logged_at: dict[str, float] = {}
        self._is_logged = False

    @property
    def is_active(self) -> bool:
        """Whether the fault affects any key."""
        return bool(self._affected)

    def begin(self, key: Hashable, message: str, detail: str = "") -> None:
        """The fault affects ``key``: log ``message`` as a WARNING the first time, else as DEBUG."""
        with self._lock:
            self._affected.add(key)
            is_new = self._is_new(message)
        self._log.log(logging.WARNING if is_new else logging.DEBUG, "%s%s", message, detail)

    def end(self, key: Hashable) -> None:
        """The fault no longer affects ``key``: log an INFO if that was the last one."""
        with self._lock:
            if key not in self._affected:
                return
            self._affected.remove(key)
            is_new = self._is_logged and not self._affected
            self._is_logged = self._is_logged and not is_new
        if is_new:
            self._log.info(self._end_message)

    def _is_new(self, message: str) -> bool:
        now = self._clock()
        logged_at = self._logged_at.get(message)
        if logged_at is not None and (self._is_logged or now - logged_at < QUIET_SECONDS):
            return False
        if not self._is_logged:
            self._logged_at.clear()
        self._logged_at[message] = now
        self._is_logged = True
        return True
