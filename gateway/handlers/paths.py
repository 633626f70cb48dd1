"""Tell what paths mean."""

from __future__ import annotations

from typing import Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from gateway.app_keys import CALLER, PATH_RESOLVER
from gateway.errors import PayloadTooLarge
from gateway.http.request_body import AnyNames, read_json
from gateway.http.responses import json_response
from gateway.index.path_resolver import PathResolution
from gateway.mount.path_status import PathKind
from gateway.runtime.offload import run_in_thread_if_large
from gateway.schemas.responses import PathsResolved, ResolvedPath

PATHS_LIMIT: Final = 10_000
# What the mount cannot say has no type.
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
    wanted = await read_json(request, PathList)
    if len(wanted.paths) > PATHS_LIMIT:
        raise PayloadTooLarge(f"At most {PATHS_LIMIT:,} paths may be listed in a request")
    explained = await request.app[PATH_RESOLVER].explain(
        wanted.paths, request[CALLER].grants.path_prefixes
    )
    shown = await run_in_thread_if_large(len(explained), lambda: [*map(_shown, explained)])
    answer: PathsResolved = {"success": True, "paths": shown}
    return json_response(answer)


def _shown(it: PathResolution) -> ResolvedPath:
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
