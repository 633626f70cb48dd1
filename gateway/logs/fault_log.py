"""Something that lasts, told when it begins and when it ends, and not at each attempt between."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Final

# What comes and goes is told this often at most, in seconds.
QUIET_SECONDS: Final = 10.0


class FaultLog:
    """Has begun as long as there is anyone whom it holds up. For any thread.

    ``over`` is what is logged at the end. ``clock`` is in seconds.
    """

    def __init__(
        self, log: logging.Logger, over: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._over = over
        self._clock = clock
        self._lock = threading.Lock()
        self._held: set[Hashable] = set()
        self._logged_at: dict[str, float] = {}
        self._is_logged = False

    @property
    def is_on(self) -> bool:
        """Whether it holds anyone up."""
        return bool(self._held)

    def begin(self, who: Hashable, what: str, detail: str = "") -> None:
        """``who`` is held up by ``what``: a WARNING, but for what was told before."""
        with self._lock:
            self._held.add(who)
            is_new = self._is_new(what)
        self._log.log(logging.WARNING if is_new else logging.DEBUG, "%s%s", what, detail)

    def end(self, who: Hashable) -> None:
        """``who`` is held up no more: an INFO if it was the last one."""
        with self._lock:
            if who not in self._held:
                return
            self._held.remove(who)
            is_new = self._is_logged and not self._held
            self._is_logged = self._is_logged and not is_new
        if is_new:
            self._log.info(self._over)

    def _is_new(self, what: str) -> bool:
        now = self._clock()
        logged_at = self._logged_at.get(what)
        if logged_at is not None and (self._is_logged or now - logged_at < QUIET_SECONDS):
            return False
        if not self._is_logged:
            self._logged_at.clear()
        self._logged_at[what] = now
        self._is_logged = True
        return True
