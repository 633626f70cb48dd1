"""A job's files: what became of each."""

from __future__ import annotations

from aiohttp import web

from gateway.handlers.requests import OFFSET_LIMIT, query_choice, query_integer
from gateway.handlers.responses import json_response
from gateway.jobs import FileStatus, parse_job_id
from gateway.keys import FILESPACES, JOB_FILES
from gateway.shapes.answers import JobFilesListed
from gateway.wire import job_file

PAGE_LIMIT = 1000


async def list_(request: web.Request) -> web.Response:
    """A page of a job's files, in the order in which the job holds them."""
    job_id = parse_job_id(request.match_info["job_id"])
    files, total = await request.app[JOB_FILES].page(
        job_id,
        status=query_choice(request, "status", FileStatus),
        limit=query_integer(request, "limit", default=50, least=1, most=PAGE_LIMIT),
        offset=query_integer(request, "offset", default=0, least=0, most=OFFSET_LIMIT),
    )
    filespaces = request.app[FILESPACES]
    shown = [job_file(file, filespaces.relative(file.path)) for file in files]
    answer: JobFilesListed = {"success": True, "jobId": job_id, "files": shown, "total": total}
    return json_response(answer)
