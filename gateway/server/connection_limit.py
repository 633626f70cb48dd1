"""The connections of our own listener: how many there may be, and who makes room for whom.

There is no limit per address: behind a proxy, or in a house behind one router, everybody has the
same. What a stranger can do with many connections is bounded by who makes room: idle ones do.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol

log = logging.getLogger(__name__)

# Connections beyond the limit: they may ask for the gateway's health, all else is refused.
HEALTH_ONLY_PLACES: Final = 64
# Of the idle ones so many make room at once: looking for them costs a look at every connection.
LEAVING_SHARE: Final = 50
SWEEP_SECONDS: Final = 5.0
WARN_SECONDS: Final = 60.0


class Admission(Enum):
    """What a new connection gets."""

    ACCEPTED = auto()
    HEALTH_ONLY = auto()
    """Nothing but the gateway's health is answered here."""
    REJECTED = auto()


class Connection(Protocol):
    """What is asked of a connection."""

    @property
    def idle_since(self) -> float | None:
        """A time that is the smaller the longer no request has come; None while there is one."""

    def force_close(self) -> None:
        """Close it now."""

    def look_after_answer(self, now: float) -> None:
        """Cut the client off if it has not taken its answer in time."""


class ConnectionLimiter:
    """At most ``limit`` connections, and a few at the door. ``clock`` is monotonic, in seconds."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._inside: set[Connection] = set()
        self._health_only: set[Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._warned_at = -WARN_SECONDS

    def __len__(self) -> int:
        return len(self._inside) + len(self._health_only)

    def add(self, newcomer: Connection) -> Admission:
        """Take a connection in. Where there is no place, those make room that idle the longest."""
        if self._sweeping is None:
            self._sweep_later()
        if self._has_room(self._inside, self._limit):
            self._inside.add(newcomer)
            return Admission.ACCEPTED
        self._warn()
        if self._has_room(self._health_only, HEALTH_ONLY_PLACES):
            self._health_only.add(newcomer)
            return Admission.HEALTH_ONLY
        return Admission.REJECTED

    def discard(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._inside.discard(connection)
        self._health_only.discard(connection)

    def _has_room(self, room: set[Connection], places: int) -> bool:
        if len(room) < places:
            return True
        idle = [(since, id(one), one) for one in room if (since := one.idle_since) is not None]
        leaving = heapq.nsmallest(max(1, places // LEAVING_SHARE), idle)
        for _, _, one in leaving:
            # Not later, when it is told to be lost: its place is taken now.
            room.discard(one)
            one.force_close()
        return bool(leaving)

    def _warn(self) -> None:
        if (now := self._clock()) - self._warned_at >= WARN_SECONDS:
            self._warned_at = now
            log.warning(
                "All %d connections are busy, newcomers are told to try again: see max_connections"
                " and the limit of open files (ulimit -n)",
                self._limit,
            )

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        now = self._clock()
        for connection in (*self._inside, *self._health_only):
            connection.look_after_answer(now)
        self._sweeping = None
        if len(self):
            self._sweep_later()
