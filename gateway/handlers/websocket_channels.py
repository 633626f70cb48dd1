"""The channels of ``/ws``, and the messages of clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from gateway.errors import InvalidRequest
from gateway.events.hub import JOBS, caller_jobs_topic, files_topic, job_topic
from gateway.job import parse_job_id
from gateway.schemas.messages import Channel as ChannelFields

Message = Mapping[str, Any]


class Channel(NamedTuple):
    """What a subscription covers.

    ``fields`` identify the channel in messages; ``subtopics`` also end with the subscription.
    """

    fields: ChannelFields
    topics: frozenset[str]
    job_id: str | None = None
    subtopics: frozenset[str] = frozenset()

    def for_owner(self, owner: str | None) -> Channel:
        """The channel for a caller that sees only the jobs of ``owner``; None: all jobs."""
        if owner is None or self.job_id is not None:
            return self
        return self._replace(topics=frozenset({caller_jobs_topic(owner)}))


def read_message(data: str | bytes) -> Message:
    """Parse a message of a client. Raises `InvalidRequest`."""
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise InvalidRequest("The message is not valid JSON") from None
    kinds = ("auth", "subscribe", "unsubscribe", "ping")
    if not isinstance(message, dict) or message.get("type") not in kinds:
        raise InvalidRequest(f"A message must be an object whose type is {', '.join(kinds)}")
    return message


def read_channel(message: Message) -> Channel:
    """The channel of a message. Raises `InvalidRequest`."""
    if message.get("channel") == "jobs":
        return Channel({"channel": "jobs"}, frozenset({JOBS}))
    if message.get("channel") != "job":
        raise InvalidRequest("channel must be jobs or job")
    job_id = message.get("jobId")
    job_id = parse_job_id(job_id if isinstance(job_id, str) else "")
    files = frozenset({files_topic(job_id)})
    topics = frozenset({job_topic(job_id)}) | (files if message.get("files") is True else set())
    return Channel({"channel": "job", "jobId": job_id}, topics, job_id, files)
