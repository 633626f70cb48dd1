"""The events that wait for a slow subscriber."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.events.hub import Event, Version

BACKLOG_LIMIT: Final = 1000


@dataclass(slots=True)
class Backlog:
    """The events that wait for a slow subscriber, in order, at most ``limit`` of them.

    A newer event replaces an older one of the same type and job, and moves to the end. When the
    backlog is full, the oldest replaceable event is dropped, or the new one if there is none;
    ``dropped`` counts them. Every step takes constant time: a client that does not read must not
    cost more.
    """

    limit: int = BACKLOG_LIMIT
    dropped: int = 0
    _must_deliver: deque[tuple[int, Event]] = field(default_factory=deque)
    _replaceable: OrderedDict[Hashable, tuple[int, Event]] = field(default_factory=OrderedDict)
    _sequence: int = 0

    def __len__(self) -> int:
        return len(self._must_deliver) + len(self._replaceable)

    def add(self, event: Event) -> None:
        """Add an event; it replaces an older one of the same type and job."""
        key = (event.type, event.job_id)
        replaces = not event.must_deliver and self._replaceable.pop(key, None) is not None
        if not replaces and len(self) >= self.limit:
            self.dropped += 1
            if not self._replaceable:
                return
            self._replaceable.popitem(last=False)
        self._sequence += 1
        if event.must_deliver:
            self._must_deliver.append((self._sequence, event))
        else:
            self._replaceable[key] = (self._sequence, event)

    def pop(self) -> Event:
        """Remove and return the next event."""
        if self._is_must_deliver_next():
            return self._must_deliver.popleft()[1]
        return self._replaceable.popitem(last=False)[1][1]

    def discard_stale(self, versions: Mapping[str, Version]) -> None:
        """Drop the events that are no newer than a snapshot with jobs in these ``versions``."""

        def is_stale(event: Event) -> bool:
            version = versions.get(event.job_id or "")
            return version is not None and bool(event.version) and event.version <= version

        self._must_deliver = deque(entry for entry in self._must_deliver if not is_stale(entry[1]))
        for key in [k for k, entry in self._replaceable.items() if is_stale(entry[1])]:
            del self._replaceable[key]

    def clear(self) -> None:
        """Drop all events."""
        self._must_deliver.clear()
        self._replaceable.clear()

    def take_dropped(self) -> int:
        """Return how many events were dropped since the last call."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def _is_must_deliver_next(self) -> bool:
        if not self._must_deliver or not self._replaceable:
            return bool(self._must_deliver)
        sequence, _event = next(iter(self._replaceable.values()))
        return self._must_deliver[0][0] < sequence
