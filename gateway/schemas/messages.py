"""The messages on the WebSocket, of both sides."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from gateway.job import JobStatus
from gateway.schemas.base import Count, JobId, Time, shape
from gateway.schemas.jobs import JobDetail, JobProgress, JobSummary
from gateway.schemas.metrics import LucidlinkMetrics, MeasuredMetrics, S3Metrics, VarnishMetrics

JobEventKind = Literal[
    "job-created", "job-started", "job-progress", "job-completed", "job-failed", "job-cancelled"
]


@shape
class Channel(TypedDict):
    """What a subscription is about: all jobs, or the one that is named."""

    channel: Literal["jobs", "job"]
    jobId: NotRequired[JobId]
    """Of the channel ``job``."""


@shape
class Auth(TypedDict):
    """Sent by a client: shows an API key or else a token, if the handshake did not."""

    type: Literal["auth"]
    apiKey: NotRequired[str]
    token: NotRequired[str]


@shape
class Subscribe(Channel):
    """Sent by a client that has shown the key: it is told of jobs from now on."""

    type: Literal["subscribe"]
    files: NotRequired[bool]
    """Of the channel ``job``: each file that ends is told as well."""


@shape
class Unsubscribe(Channel):
    """Sent by a client: it is told no more."""

    type: Literal["unsubscribe"]


@shape
class Ping(TypedDict):
    """Sent by a client that wants a `pong`."""

    type: Literal["ping"]


@shape
class Pong(TypedDict):
    """The answer to a `ping`."""

    type: Literal["pong"]


@shape
class Authenticated(TypedDict):
    """The key holds."""

    type: Literal["authenticated"]


@shape
class Unsubscribed(Channel):
    """A subscription has ended."""

    type: Literal["unsubscribed"]


@shape
class JobsSnapshot(Channel):
    """What a subscription to all jobs begins with: the newest ones."""

    type: Literal["snapshot"]
    jobs: list[JobSummary]


@shape
class JobSnapshot(Channel):
    """What a subscription to one job begins with."""

    type: Literal["snapshot"]
    job: JobDetail


@shape
class ErrorMessage(TypedDict):
    """What a client sent was not understood, or not granted."""

    type: Literal["error"]
    error: str
    retryAfter: NotRequired[Count]
    """In seconds, where trying again helps."""


@shape
class EventsDropped(TypedDict):
    """Events were missed: the client was too slow, or the database away."""

    type: Literal["events-dropped"]
    count: Count
    jobId: NotRequired[JobId]
    """Where the ends of this job's files were missed."""


@shape
class MetricsMessage(MeasuredMetrics):
    """The first message of all."""

    type: Literal["metrics"]


@shape
class LucidlinkMessage(TypedDict):
    """A new sample of the throughput."""

    type: Literal["lucidlink-stats"]
    lucidLink: LucidlinkMetrics


@shape
class S3Message(TypedDict):
    """The outcome of a check of the bucket."""

    type: Literal["s3-health"]
    s3Health: S3Metrics


@shape
class VarnishMessage(TypedDict):
    """How full the cache is, as the backend says it."""

    type: Literal["varnish-stats"]
    varnish: VarnishMetrics


@shape
class JobMessage(TypedDict):
    """A change of a job."""

    type: JobEventKind
    jobId: JobId
    status: JobStatus
    totalFiles: int
    progress: JobProgress
    error: str | None
    timestamp: Time


@shape
class FileMessage(TypedDict):
    """How a file of a job ended."""

    type: Literal["file-completed", "file-failed"]
    jobId: JobId
    filePath: str
    """Relative to its filespace."""
    sizeBytes: int | None
    error: str | None
    timestamp: Time


FROM_CLIENT = (Auth, Subscribe, Unsubscribe, Ping)
FROM_GATEWAY = (
    MetricsMessage, LucidlinkMessage, S3Message, VarnishMessage, JobMessage, FileMessage,
    Authenticated, JobsSnapshot, JobSnapshot, Unsubscribed, Pong, EventsDropped, ErrorMessage,
)  # fmt: skip
