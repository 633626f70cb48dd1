"""Resolves paths."""

from __future__ import annotations

from typing import Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from gateway.errors import PayloadTooLarge
from gateway.http.app_keys import CALLER, PATH_RESOLVER
from gateway.http.request_body import AnyNames, read_json
from gateway.http.responses import json_response
from gateway.index.path_resolver import PathResolution
from gateway.mount.path_status import PathKind
from gateway.runtime.offload import run_in_thread_if_large
from gateway.schemas.responses import PathsResolved, ResolvedPath

PATHS_LIMIT: Final = 10_000
# Other kinds have no type.
TYPES: Final[dict[PathKind, Literal["file", "directory"]]] = {
    PathKind.FILE: "file",
    PathKind.DIRECTORY: "directory",
}


class PathList(BaseModel):
    """The body of a resolve: paths, as any operating system writes them; at most 10,000."""

    model_config = ConfigDict(extra="forbid")

    paths: AnyNames = Field(examples=[["01_vfx", "/Volumes/dmpfs/tc-east-1/01_VFX"]])


async def resolve(request: web.Request) -> web.Response:
    """Tell what paths mean, and what is there.

    They are answered in the order given, those that are refused with the reason in `error`. Nothing
    is created: this is what to ask where a job found nothing.
    """
    body = await read_json(request, PathList)
    if len(body.paths) > PATHS_LIMIT:
        raise PayloadTooLarge(f"At most {PATHS_LIMIT:,} paths may be listed in a request")
    resolved = await request.app[PATH_RESOLVER].explain(
        body.paths, request[CALLER].grants.path_prefixes
    )
    paths = await run_in_thread_if_large(len(resolved), lambda: [*map(_serialize, resolved)])
    answer: PathsResolved = {"success": True, "paths": paths}
    return json_response(answer)


def _serialize(it: PathResolution) -> ResolvedPath:
    return {
        "path": it.typed,
        "resolved": it.resolved,
        "sendable": it.sendable,
        "filespace": it.filespace,
        "rule": it.rule,
        "indexed": it.is_indexed,
        "type": TYPES.get(it.kind),
        "size": it.size,
        "error": it.error,
    }
