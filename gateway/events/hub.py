"""The hub: what happens is published once, and every subscriber is offered it.

Bounded for slow subscribers: of what can be replaced, the newest wins (`Backlog`).
"""

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
"""The topic of what everybody gets: throughput, S3 health."""
JOBS: Final = "jobs"
"""The topic of every job's events."""


Version = tuple[int, ...]
"""How far a job is. What is not newer than a snapshot of the job is old news."""


def callers_jobs_topic(name: str) -> str:
    """The topic of the events of the jobs that one key submitted."""
    return f"jobs of/{name}"


def job_topic(job_id: str) -> str:
    """The topic of one job's events."""
    return f"job/{job_id}"


def files_topic(job_id: str) -> str:
    """The topic of the events of one job's files."""
    return f"files/{job_id}"


@dataclass(frozen=True)
class Event:
    """Something that happened, as the message that tells of it.

    ``topics`` say who is told. Of a slow subscriber's events the newest of each ``type`` and
    ``job_id`` replaces the older, unless it is ``kept``: ends of jobs, failed files. ``version``
    orders a job's events against a snapshot of the job: what is not newer is old news.
    """

    message: Mapping[str, Any]
    topics: tuple[str, ...] = (METRICS,)
    job_id: str | None = None
    must_deliver: bool = False
    version: Version = ()

    @property
    def type(self) -> str:
        """The kind of event: the message's ``type``."""
        kind: str = self.message["type"]
        return kind

    @cached_property
    def body(self) -> bytes:
        """The message as JSON, serialised once however many are told."""
        return orjson.dumps(self.message)

    @cached_property
    def frame(self) -> bytes:
        """The message as an unmasked WebSocket text frame (RFC 6455, section 5.2)."""
        return text_frame(self.body)


def text_frame(body: bytes) -> bytes:
    """A whole text frame as a server sends it: not fragmented, not masked, not compressed."""
    size = len(body)
    if size < 126:
        return bytes((0x81, size)) + body
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + body
    return b"\x81\x7f" + size.to_bytes(8, "big") + body


class Subscriber(Protocol):
    """Somebody who is told of events. Must not block, and must not raise."""

    def offer(self, event: Event) -> None:
        """Take the event, or keep it for later."""


class Hub:
    """Passes events from those who publish to those who subscribed. One thread, no waiting."""

    def __init__(self) -> None:
        self._subscribers: defaultdict[str, dict[Subscriber, None]] = defaultdict(dict)

    def subscribe(self, subscriber: Subscriber, topic: str) -> None:
        """Tell ``subscriber`` of the topic's events from now on."""
        self._subscribers[topic][subscriber] = None

    def unsubscribe(self, subscriber: Subscriber, topic: str) -> None:
        """Tell it no more. Without effect if it was not subscribed."""
        told = self._subscribers.get(topic)
        if told is not None:
            told.pop(subscriber, None)
            if not told:
                del self._subscribers[topic]

    def has_subscribers(self, topic: str) -> bool:
        """Whether anybody is told: an event that takes work to make may not be worth it."""
        return topic in self._subscribers

    def publish(self, event: Event) -> None:
        """Offer the event to each subscriber of its topics, once.

        A subscriber that raises all the same keeps nobody else from being told.
        """
        for subscriber in self._told(event.topics):
            try:
                subscriber.offer(event)
            except Exception:
                log.exception("a subscriber could not be told of %s", event.type)

    def _told(self, topics: tuple[str, ...]) -> Iterable[Subscriber]:
        groups = [self._subscribers[topic] for topic in topics if topic in self._subscribers]
        if len(groups) == 1:
            return tuple(groups[0])
        return {subscriber: None for group in groups for subscriber in group}
