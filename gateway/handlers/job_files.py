"""A job's files and their states."""

from __future__ import annotations

from aiohttp import web

from gateway.http.app_keys import CALLER, FILESPACES, JOB_FILES
from gateway.http.authentication import visible_owner
from gateway.http.responses import json_response
from gateway.job import FileStatus, JobFile, parse_job_id
from gateway.openapi.parameters import QueryChoice, QueryInteger, check_query, offset
from gateway.paths import Filespaces
from gateway.schemas.jobs import JobFileInfo
from gateway.schemas.responses import JobFilesListed
from gateway.schemas.serializers import job_file

STATUS = QueryChoice("status", "Only files in this state.", FileStatus)
LIMIT = QueryInteger("limit", "How many files at most.", default=50, least=1, most=1000)
OFFSET = offset("How many of the first to leave out.")
LIST_QUERY = (STATUS, LIMIT, OFFSET)


async def list_(request: web.Request) -> web.Response:
    """A page of a job's files, in the order in which the job holds them."""
    job_id = parse_job_id(request.match_info["job_id"])
    check_query(request.query, LIST_QUERY)
    files, total = await request.app[JOB_FILES].page(
        job_id,
        status=STATUS.read(request.query),
        limit=LIMIT.read(request.query),
        offset=OFFSET.read(request.query),
        submitted_by=visible_owner(request.app, request[CALLER]),
    )
    filespaces = request.app[FILESPACES]
    page = [_serialize(file, filespaces) for file in files]
    answer: JobFilesListed = {"success": True, "jobId": job_id, "files": page, "total": total}
    return json_response(answer)


def _serialize(file: JobFile, filespaces: Filespaces) -> JobFileInfo:
    error = filespaces.relative_in(file.error) if file.error else file.error
    return job_file(file, filespaces.relative(file.path), error)
