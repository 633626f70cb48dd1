"""Submit, read, list and cancel cache jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Annotated, Any

from aiohttp import ETag, web
from aiohttp.helpers import ETAG_ANY
from pydantic import BaseModel, FailFast, StrictBool, StrictStr

from gateway.aside import compute
from gateway.errors import InvalidRequest, NoFilesFound, PayloadTooLarge
from gateway.handlers.requests import query_integer, read_json
from gateway.handlers.responses import json_response
from gateway.index_state import IndexState
from gateway.jobs import JobStatus, parse_job_id
from gateway.keys import FILESPACES, INDEX_STATE, JOB_CANCELLED, JOB_STORE, METRICS, SUBMISSION
from gateway.paths import Filespaces, resolve_all
from gateway.submission import Submitted
from gateway.wire import iso_time, job_in_brief, job_in_full, readable_size, utc_now

LISTED_NAMES_LIMIT = 100_000
PAGE_LIMIT = 100
OFFSET_LIMIT = 1_000_000_000


# Ten megabytes hold millions of wrong names: the first one is enough to say.
Names = Annotated[list[StrictStr], FailFast()]


class NewJob(BaseModel):
    """The body of a submit: at least one file or directory, as any operating system writes it."""

    files: Names = []
    directories: Names = []
    recursive: StrictBool = True


async def create(request: web.Request) -> web.Response:
    """Create a cache job: 201 with its id and totals."""
    wanted = await read_json(request, NewJob)
    _check_amount(wanted)
    filespaces = request.app[FILESPACES]
    with _index_remembered(request.app.get(INDEX_STATE)):
        submitted = await request.app[SUBMISSION].submit(
            files=await _resolve(wanted.files, filespaces),
            directories=await _resolve(wanted.directories, filespaces),
            recursive=wanted.recursive,
        )
    location = request.app.router["job"].url_for(job_id=submitted.job.id)
    return json_response(_created(submitted), 201, {"Location": str(location)})


async def get(request: web.Request) -> web.Response:
    """A job's state and progress; 304 when the caller's ETag still holds."""
    job = await request.app[JOB_STORE].get(parse_job_id(request.match_info["job_id"]))
    # The tag is of the job alone: throughput and ETA move by themselves, every second.
    tag = ETag(blake2b(repr(job).encode(), digest_size=12).hexdigest(), is_weak=True)
    if any(known.value in (tag.value, ETAG_ANY) for known in request.if_none_match or ()):
        response = web.Response(status=304)
    else:
        throughput = request.app[METRICS].fresh_throughput
        shown = job_in_full(job, throughput, utc_now())
        response = json_response({"success": True, "job": shown})
    response.etag = tag
    response.headers["Cache-Control"] = "private, no-cache"
    return response


async def list_(request: web.Request) -> web.Response:
    """A page of jobs, newest first."""
    jobs, total = await request.app[JOB_STORE].list(
        status=_query_status(request),
        limit=query_integer(request, "limit", default=50, least=1, most=PAGE_LIMIT),
        offset=query_integer(request, "offset", default=0, least=0, most=OFFSET_LIMIT),
    )
    return json_response(
        {"success": True, "jobs": [job_in_brief(job) for job in jobs], "total": total}
    )


async def cancel(request: web.Request) -> web.Response:
    """Cancel a job that has not ended."""
    await request.app[JOB_STORE].cancel(parse_job_id(request.match_info["job_id"]))
    request.app[JOB_CANCELLED].set()
    return json_response({"success": True, "message": "Job cancelled successfully"})


@contextmanager
def _index_remembered(index: IndexState | None) -> Iterator[None]:
    """While the first index is being built, what is not found may only be not known yet."""
    try:
        yield
    except NoFilesFound as error:
        if index is None or index.built:
            raise
        seen = f"{index.entries:,} entries so far"
        raise NoFilesFound(
            f"{error.message} (the first index is still being built: {seen})", error.details
        ) from None


def _check_amount(wanted: NewJob) -> None:
    listed = len(wanted.files) + len(wanted.directories)
    if not listed:
        raise InvalidRequest("At least one file or directory is required")
    if listed > LISTED_NAMES_LIMIT:
        raise PayloadTooLarge(f"At most {LISTED_NAMES_LIMIT:,} names may be listed in a request")


async def _resolve(typed: Sequence[str], filespaces: Filespaces) -> dict[str, str]:
    """What was typed, by the path that it names: a path named twice counts once."""
    resolved = await compute(len(typed), resolve_all, typed, filespaces)
    return dict(zip(resolved, typed, strict=True))


def _query_status(request: web.Request) -> JobStatus | None:
    text = request.query.get("status")
    if text is None:
        return None
    try:
        return JobStatus(text)
    except ValueError:
        raise InvalidRequest(f"status must be one of {', '.join(JobStatus)}") from None


def _created(submitted: Submitted) -> dict[str, Any]:
    job = submitted.job
    return {
        "success": True,
        "jobId": job.id,
        "status": job.status,
        "totalFiles": job.total_files,
        "totalSize": {"bytes": job.total_bytes, "readable": readable_size(job.total_bytes)},
        "unindexed": submitted.unindexed,
        "message": "Cache job created successfully",
        "createdAt": iso_time(job.created_at),
    }
