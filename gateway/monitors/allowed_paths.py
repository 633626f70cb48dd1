"""Warns of ALLOWED_PATHS that do not exist: they allow nothing."""

from __future__ import annotations

import logging

from gateway.monitors.loop import Monitor
from gateway.mount.mount import Mount
from gateway.mount.path_status import PathKind
from gateway.paths import Filespaces, quote

log = logging.getLogger(__name__)


class AllowedPathsMonitor(Monitor):
    """Warns once of each prefix of ALLOWED_PATHS that does not exist.

    It checks again while a mount is unavailable, and ends when every prefix has been checked.
    """

    name = "allowed-paths"
    interval = 60.0

    def __init__(self, filespaces: Filespaces) -> None:
        super().__init__()
        self._filespaces = filespaces
        self._mount = Mount([it.mount_point for it in filespaces.filespaces])
        self._unchecked = list(filespaces.allowed_prefixes)

    async def check_once(self) -> bool:
        """Check the prefixes whose status is still unknown."""
        statuses = dict(
            zip(self._unchecked, await self._mount.stat_all(self._unchecked), strict=True)
        )
        for path, it in statuses.items():
            if it.kind in (PathKind.MISSING, PathKind.OUTSIDE):
                log.warning(
                    "ALLOWED_PATHS names %s, which %s: nothing is allowed by it",
                    quote(self._filespaces.relative(path)),
                    "does not exist"
                    if it.kind is PathKind.MISSING
                    else "leads out of the filespace",
                )
        self._unchecked = [path for path, it in statuses.items() if it.kind is PathKind.UNKNOWN]
        return not self._unchecked
