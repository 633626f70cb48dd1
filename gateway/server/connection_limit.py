"""Limits the connections of the gateway's own listener; idle ones make room for new ones.

There is no limit per address: behind a proxy or a router all clients have the same one. An
unauthenticated client with many idle connections keeps nobody out, as those are closed first.
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
# 1/50 of the places is freed at once: to find idle connections takes a pass over all of them.
EVICTED_SHARE: Final = 50
SWEEP_SECONDS: Final = 5.0
WARN_SECONDS: Final = 60.0


class Admission(Enum):
    """What a new connection gets."""

    ACCEPTED = auto()
    HEALTH_ONLY = auto()
    """Nothing but the gateway's health is answered here."""
    REJECTED = auto()


class Connection(Protocol):
    """What the limiter needs of a connection."""

    @property
    def idle_since(self) -> float | None:
        """When it became idle, in monotonic seconds; None while it has a request."""

    def force_close(self) -> None:
        """Close it now."""

    def look_after_answer(self, now: float) -> None:
        """Abort the connection if the client is late to take its answer."""


class ConnectionLimiter:
    """At most ``limit`` connections, and a few for health. ``clock`` is monotonic, in seconds."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._accepted: set[Connection] = set()
        self._health_only: set[Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._warned_at = -WARN_SECONDS

    def __len__(self) -> int:
        return len(self._accepted) + len(self._health_only)

    def add(self, connection: Connection) -> Admission:
        """Find a place for a connection. At the limit the longest idle ones are closed for it."""
        if self._sweeping is None:
            self._sweep_later()
        if self._has_room(self._accepted, self._limit):
            self._accepted.add(connection)
            return Admission.ACCEPTED
        self._warn()
        if self._has_room(self._health_only, HEALTH_ONLY_PLACES):
            self._health_only.add(connection)
            return Admission.HEALTH_ONLY
        return Admission.REJECTED

    def discard(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._accepted.discard(connection)
        self._health_only.discard(connection)

    def _has_room(self, room: set[Connection], places: int) -> bool:
        if len(room) < places:
            return True
        idle = [(since, id(one), one) for one in room if (since := one.idle_since) is not None]
        evicted = heapq.nsmallest(max(1, places // EVICTED_SHARE), idle)
        for _, _, one in evicted:
            # Now, not in `connection_lost`: its place is taken at once.
            room.discard(one)
            one.force_close()
        return bool(evicted)

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
        for connection in (*self._accepted, *self._health_only):
            connection.look_after_answer(now)
        self._sweeping = None
        if len(self):
            self._sweep_later()
