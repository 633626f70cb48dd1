"""The bodies of the answers over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from gateway.errors import Details
from gateway.job import JobStatus
from gateway.paths import Rule
from gateway.schemas.base import Count, JobId, Time, shape
from gateway.schemas.jobs import JobDetail, JobFileInfo, JobSummary, Size
from gateway.schemas.metrics import AllMetrics, S3History


@shape
class Refusal(TypedDict):
    """Why there is no other answer: the shape of every error, whatever its status."""

    success: Literal[False]
    error: str
    """One sentence for people."""
    details: NotRequired[Details]
    """Where one sentence cannot hold what was wrong; of a list the first 1,000."""


@shape
class Alive(TypedDict):
    """The process lives."""

    success: Literal[True]
    status: Literal["alive"]


@shape
class IndexReport(TypedDict):
    """How far an index of the gateway's own is."""

    status: Literal["building", "ready", "refused"]
    """``refused``: the last scan was refused or failed, see ``error``."""
    entries: Count
    """What the last good scan saw; while the first one runs, what it saw so far."""
    lastScan: Time | None
    """When the last good scan ended."""
    error: NotRequired[str]


@shape
class Health(TypedDict):
    """The gateway can do its work."""

    success: Literal[True]
    status: Literal["healthy"]
    service: str
    database: Literal["connected"]
    timestamp: Time
    degraded: NotRequired[str]
    """What it cannot do for now, in one sentence: the last submit found no room on the disk."""
    index: NotRequired[IndexReport]
    """Of a gateway that keeps an index of its own."""


@shape
class UnhealthyResponse(TypedDict):
    """The gateway cannot do its work yet, or just now."""

    success: Literal[False]
    error: str
    status: Literal["starting", "unhealthy"]
    service: str
    database: Literal["connected", "disconnected"]
    timestamp: Time


@shape
class MatchedName(TypedDict):
    """A name that the index has under another spelling: another case or Unicode form."""

    path: str
    """As it was given."""
    resolved: str
    """As the index has it, relative to the filespace; of several, behind the filespace's name."""


@shape
class JobCreated(TypedDict):
    """A new job, with what it will read."""

    success: Literal[True]
    jobId: JobId
    status: JobStatus
    totalFiles: Count
    totalSize: Size
    unindexed: Sequence[str]
    """Files that the index does not know: they are read all the same."""
    matched: Sequence[MatchedName]
    """Names that were found under another spelling."""
    message: str
    createdAt: Time | None


@shape
class ResolvedPath(TypedDict):
    """What a path means."""

    path: str
    """As it was given."""
    resolved: str | None
    """Relative to its filespace, as the index spells it; empty: all of it; null: refused."""
    sendable: str | None
    """What asks for the same when it is sent: of several filespaces it begins with the name."""
    filespace: str | None
    rule: Rule | None
    """What it was read by."""
    indexed: bool
    type: Literal["file", "directory"] | None
    """Null where neither the index nor the mount knows of it."""
    size: Count | None
    """A file's, in bytes."""
    error: str | None
    """Why it is refused."""


@shape
class PathsResolved(TypedDict):
    """What each path means, in the order given."""

    success: Literal[True]
    paths: Sequence[ResolvedPath]


@shape
class JobFound(TypedDict):
    """One job."""

    success: Literal[True]
    job: JobDetail


@shape
class JobsListed(TypedDict):
    """A page of jobs."""

    success: Literal[True]
    jobs: list[JobSummary]
    total: Count
    """How many jobs there are on all pages."""


@shape
class JobFilesListed(TypedDict):
    """A page of a job's files, in the order in which the job holds them."""

    success: Literal[True]
    jobId: JobId
    files: list[JobFileInfo]
    total: Count
    """How many there are on all pages."""


@shape
class JobCancelled(TypedDict):
    """The job is cancelled."""

    success: Literal[True]
    message: str


@shape
class MetricsReport(TypedDict):
    """Everything that is measured, now."""

    success: Literal[True]
    metrics: AllMetrics
    timestamp: Time


@shape
class S3Report(TypedDict):
    """S3 health, now."""

    success: Literal[True]
    s3Health: S3History
    timestamp: Time
