"""In-process publish/subscribe for events. `Backlog` bounds what waits for slow subscribers."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import orjson

log = logging.getLogger(__name__)

METRICS: Final = "metrics"
"""The topic of the events that every subscriber gets: throughput, S3 health."""
JOBS: Final = "jobs"
"""The topic of every job's events."""

Version = tuple[int, ...]
"""A job's progress as an ordered tuple. An event no newer than a snapshot of the job is stale."""


def caller_jobs_topic(name: str) -> str:
    """The topic of the events of the jobs that the key ``name`` submitted."""
    return f"jobs of/{name}"


def job_topic(job_id: str) -> str:
    """The topic of one job's events."""
    return f"job/{job_id}"


def files_topic(job_id: str) -> str:
    """The topic of the events of one job's files."""
    return f"files/{job_id}"


@dataclass(frozen=True)
class Event:
    """A message for the subscribers of ``topics``.

    For a slow subscriber a newer event replaces an older one of the same ``type`` and ``job_id``,
    unless they are ``must_deliver``: ends of jobs, failed files. ``version`` orders a job's events
    against a snapshot of the job: an event that is not newer is stale.
    """

    message: Mapping[str, Any]
    topics: tuple[str, ...] = (METRICS,)
    job_id: str | None = None
    must_deliver: bool = False
    version: Version = ()

    @property
    def type(self) -> str:
        """The message's ``type``."""
        kind: str = self.message["type"]
        return kind

    @cached_property
    def body(self) -> bytes:
        """The message as JSON, serialised once for all subscribers."""
        return orjson.dumps(self.message)

    @cached_property
    def frame(self) -> bytes:
        """The message as an unmasked WebSocket text frame (RFC 6455, section 5.2)."""
        return text_frame(self.body)


def text_frame(body: bytes) -> bytes:
    """A server's text frame: unfragmented, unmasked, uncompressed (RFC 6455, section 5.2)."""
    size = len(body)
    if size < 126:
        return bytes((0x81, size)) + body
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + body
    return b"\x81\x7f" + size.to_bytes(8, "big") + body


class Subscriber(Protocol):
    """Receives events. Must neither block nor raise."""

    def offer(self, event: Event) -> None:
        """Send the event, or keep it for later."""


class Hub:
    """Passes published events to the subscribers of their topics. Single-threaded, never waits."""

    def __init__(self) -> None:
        self._subscribers: defaultdict[str, dict[Subscriber, None]] = defaultdict(dict)

    def subscribe(self, subscriber: Subscriber, topic: str) -> None:
        """Offer the topic's events to ``subscriber`` from now on."""
        self._subscribers[topic][subscriber] = None

    def unsubscribe(self, subscriber: Subscriber, topic: str) -> None:
        """End a subscription, if there is one."""
        subscribers = self._subscribers.get(topic)
        if subscribers is not None:
            subscribers.pop(subscriber, None)
            if not subscribers:
                del self._subscribers[topic]

    def has_subscribers(self, topic: str) -> bool:
        """Whether the topic has subscribers; without any, a costly event need not be made."""
        return topic in self._subscribers

    def publish(self, event: Event) -> None:
        """Offer the event to each subscriber of its topics, once.

        A subscriber that raises does not keep the event from the others.
        """
        for subscriber in self._subscribers_of(event.topics):
            try:
                subscriber.offer(event)
            except Exception:
                log.exception("a subscriber failed on the event %s", event.type)

    def _subscribers_of(self, topics: tuple[str, ...]) -> Iterable[Subscriber]:
        groups = [self._subscribers[topic] for topic in topics if topic in self._subscribers]
        if len(groups) == 1:
            return tuple(groups[0])
        return {subscriber: None for group in groups for subscriber in group}
