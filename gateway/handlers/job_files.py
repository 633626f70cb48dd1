"""A job's files: what became of each."""

from __future__ import annotations

from aiohttp import web

from gateway.handlers.requests import OFFSET_LIMIT, query_choice, query_integer
from gateway.handlers.responses import json_response
from gateway.jobs import FileStatus, parse_job_id
from gateway.keys import FILESPACE, JOB_FILES
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
    filespace = request.app[FILESPACE]
    shown = [job_file(file, filespace.relative(file.path)) for file in files]
    return json_response({"success": True, "jobId": job_id, "files": shown, "total": total})
