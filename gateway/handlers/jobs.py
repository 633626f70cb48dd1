"""Submit, read, list and cancel cache jobs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from pydantic.config import JsonDict

from gateway.errors import InvalidRequest, NoFilesFound, PayloadTooLarge
from gateway.http.app_keys import (
    CALLER,
    INDEX_STATE,
    JOB_CACHE,
    JOB_CANCELLED,
    JOB_PAGES,
    JOB_STORE,
    METRICS,
    NOTES,
    SUBMISSION,
)
from gateway.http.authentication import require_visible, visible_owner
from gateway.http.idempotency_key import identify, read_idempotency_key
from gateway.http.request_body import Names, read_json
from gateway.http.responses import NO_CACHE, is_known, json_response
from gateway.index.state import IndexState
from gateway.job import JobStatus, parse_job_id
from gateway.jobs.pages import PageOfJobs
from gateway.jobs.submission import SubmittedPaths
from gateway.openapi.parameters import QueryChoice, QueryInteger, check_query, offset
from gateway.schemas.responses import JobCancelled

LISTED_NAMES_LIMIT = 100_000
NOTED_PATHS = 10
STATUS = QueryChoice("status", "Only jobs in this state.", JobStatus)
LIMIT = QueryInteger("limit", "How many jobs at most.", default=50, least=1, most=100)
OFFSET = offset("How many of the newest to leave out.")
LIST_QUERY = (STATUS, LIMIT, OFFSET)


def _at_least_one(name: str) -> JsonDict:
    return {"required": [name], "properties": {name: {"minItems": 1}}}


class NewJob(BaseModel):
    """The body of a submit: at least one file or directory, as any operating system writes it.

    In all at most 100,000. Paths may be relative to the filespace, or absolute as the caller's own
    machine sees them.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"anyOf": [_at_least_one("files"), _at_least_one("directories")]},
    )

    files: Names = Field([], examples=[["00_Media/Farm/ProRes422/Farm00001.mov"]])
    directories: Names = Field([], examples=[["01_VFX"]])
    recursive: StrictBool = Field(
        True, description="Whether folders within the directories count too."
    )


async def create(request: web.Request) -> web.Response:
    """Create a cache job: 201 with its id and totals.

    With an `Idempotency-Key` it may be sent again when no answer came, also to another gateway on
    the same database: there is one job, and within 24 hours each 201 is the first answer. While
    one is still being answered the others get 409, the same key with another body gets 422. A
    submit that was refused may be sent again with its key, changed or not.
    """
    key = read_idempotency_key(request)
    new_job = await read_json(request, NewJob)
    _note(new_job, request[NOTES])
    count = _check_count(new_job)
    repeatable = None
    if key is not None:
        repeatable = await identify(request, key, count, new_job.model_dump())
    paths = SubmittedPaths(new_job.files, new_job.directories, new_job.recursive)
    with _index_remembered(request.app.get(INDEX_STATE)):
        response = await request.app[SUBMISSION].submit(paths, request[CALLER], repeatable)
    request[NOTES]["jobId"] = response.job_id
    headers = {"Location": str(request.app.router["job"].url_for(job_id=response.job_id))}
    if response.is_replay:
        headers["Idempotency-Replayed"] = "true"
    return web.Response(
        body=response.body, status=201, headers=headers, content_type="application/json"
    )


async def get(request: web.Request) -> web.Response:
    """A job's state and progress; 304 when the caller's ETag still holds."""
    known = await request.app[JOB_CACHE].get(parse_job_id(request.match_info["job_id"]))
    require_visible(known.job, visible_owner(request.app, request[CALLER]))
    headers = {"ETag": known.tag, **NO_CACHE}
    if is_known(known.tag, request):
        return web.Response(status=304, headers=headers)
    return json_response(known.answer(request.app[METRICS].fresh_throughput), headers=headers)


async def list_(request: web.Request) -> web.Response:
    """A page of jobs, newest first."""
    check_query(request.query, LIST_QUERY)
    wanted = PageOfJobs(
        status=STATUS.read(request.query),
        limit=LIMIT.read(request.query),
        offset=OFFSET.read(request.query),
        submitted_by=visible_owner(request.app, request[CALLER]),
    )
    return json_response(await request.app[JOB_PAGES].get(wanted))


async def cancel(request: web.Request) -> web.Response:
    """Cancel a job that has not ended."""
    job_id = parse_job_id(request.match_info["job_id"])
    await request.app[JOB_STORE].cancel(job_id, visible_owner(request.app, request[CALLER]))
    request.app[JOB_CACHE].drop(job_id)
    request.app[JOB_CANCELLED].set()
    answer: JobCancelled = {"success": True, "message": "Job cancelled successfully"}
    return json_response(answer)


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


def _note(new_job: NewJob, notes: dict[str, Any]) -> None:
    """Add what the audit log records: the counts, and a few of the paths."""
    named = itertools.islice(itertools.chain(new_job.files, new_job.directories), NOTED_PATHS)
    notes |= {
        "files": len(new_job.files),
        "directories": len(new_job.directories),
        "paths": [*named],
    }


def _check_count(new_job: NewJob) -> int:
    """How many names are listed. Raises `InvalidRequest`, `PayloadTooLarge`."""
    listed = len(new_job.files) + len(new_job.directories)
    if not listed:
        raise InvalidRequest("At least one file or directory is required")
    if listed > LISTED_NAMES_LIMIT:
        raise PayloadTooLarge(f"At most {LISTED_NAMES_LIMIT:,} names may be listed in a request")
    return listed
