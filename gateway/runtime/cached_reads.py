"""A cache of what was read, with an expiry; concurrent callers share one read."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from gateway.runtime.single_flight import SingleFlight

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Entry(NamedTuple, Generic[Value]):
    value: Value
    expires_at: float


class CachedReads(Generic[Key, Value]):
    """Reads by ``read`` and caches each value for ``seconds(key)`` after it arrived.

    At most ``size`` values are cached; the oldest goes first. ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        read: Callable[[Key], Awaitable[Value]],
        seconds: Callable[[Key], float],
        size: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[Key, _Entry[Value]] = OrderedDict()
        self._reads = SingleFlight(self._read_unless_fresh)

    async def get(self, key: Key) -> Value:
        """The value, from the cache while it is fresh. Raises what ``read`` raises."""
        entry = self._fresh(key)
        return entry.value if entry else await self._reads.get(key)

    def _fresh(self, key: Key) -> _Entry[Value] | None:
        entry = self._entries.get(key)
        return entry if entry and self._clock() < entry.expires_at else None

    async def _read_unless_fresh(self, key: Key) -> Value:
        # The read that this one waited for may have been enough.
        if entry := self._fresh(key):
            return entry.value
        value = await self._read(key)
        self._entries.pop(key, None)
        self._entries[key] = _Entry(value, self._clock() + self._seconds(key))
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
        return value
