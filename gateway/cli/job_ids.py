"""The id of a job, of which its beginning is enough: the dashboard shows no more of it."""

from __future__ import annotations

import re

from gateway.client import GatewayClient, GatewayClientError

SHORT = re.compile(r"[0-9a-fA-F]{8}[0-9a-fA-F-]{0,27}")
PAGE = 100
# Lists of jobs are few in a minute.
PAGES = 3


async def whole_id(client: GatewayClient, given: str) -> str:
    """The id of the one job among the newest whose id begins so; what is no beginning stays.

    Raises `GatewayClientError` where there is none, or several.
    """
    if not SHORT.fullmatch(given):
        return given
    found: dict[str, None] = {}
    for page in range(PAGES):
        jobs, total = await client.jobs(limit=PAGE, offset=page * PAGE)
        found |= dict.fromkeys(job.id for job in jobs if job.id.startswith(given.lower()))
        if (page + 1) * PAGE >= total:
            break
    if len(found) > 1:
        raise GatewayClientError(f"Several jobs begin with {given}", 404, list(found))
    if not found:
        raise GatewayClientError(
            f"None of the newest {PAGES * PAGE} jobs begins with {given}; of an older one the whole"
            " id is needed, as `jobs --all` shows it",
            404,
        )
    return next(iter(found))
