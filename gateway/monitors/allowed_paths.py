"""Watches for folders that alone may be cached and that are not there: nothing is allowed then."""

from __future__ import annotations

import logging

from gateway.monitors.loop import Monitor
from gateway.mount.mount import Mount
from gateway.mount.path_status import PathKind
from gateway.paths import Filespaces, quote

log = logging.getLogger(__name__)


class AllowedPathsMonitor(Monitor):
    """Warns of each prefix of ALLOWED_PATHS that does not exist, once its mount tells.

    It goes on asking while a mount is not visible, and ends when it knows of all of them.
    """

    name = "allowed-paths"
    interval = 60.0

    def __init__(self, filespaces: Filespaces) -> None:
        super().__init__()
        self._filespaces = filespaces
        self._mount = Mount([it.mount_point for it in filespaces.filespaces])
        self._open = list(filespaces.allowed_prefixes)

    async def check_once(self) -> bool:
        """Look at those prefixes of which nothing is known yet."""
        seen = dict(zip(self._open, await self._mount.stat_all(self._open), strict=True))
        for path, it in seen.items():
            if it.kind in (PathKind.MISSING, PathKind.OUTSIDE):
                log.warning(
                    "ALLOWED_PATHS names %s, which %s: nothing is allowed by it",
                    quote(self._filespaces.relative(path)),
                    "does not exist"
                    if it.kind is PathKind.MISSING
                    else "leads out of the filespace",
                )
        self._open = [path for path, it in seen.items() if it.kind is PathKind.UNKNOWN]
        return not self._open
