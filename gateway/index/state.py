"""The state of the index that this process keeps, if it keeps one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from gateway.formatting import iso_time
from gateway.index.indexer import IndexProgress
from gateway.schemas.responses import IndexReport


@dataclass(slots=True)
class FilespaceIndex:
    """The state of one filespace's index.

    ``last_scan`` is when the last successful scan ended, ``entries`` what it counted; ``error``
    says why a later one was refused or failed.
    """

    progress: IndexProgress = field(default_factory=IndexProgress)
    entries: int = 0
    last_scan: datetime | None = None
    error: str | None = None

    @property
    def built(self) -> bool:
        """Whether the first scan is complete."""
        return self.last_scan is not None

    @property
    def seen(self) -> int:
        """The entries of the last successful scan, or of the first scan so far."""
        return self.entries if self.built else self.progress.entries

    def succeeded(self, entries: int, moment: datetime) -> None:
        """Note a successful scan that ended at ``moment``."""
        self.entries, self.last_scan, self.error = entries, moment, None

    def failed(self, reason: str) -> None:
        """Note a failed scan, which changed nothing."""
        self.error = reason


class IndexState:
    """The state of all filespaces' indexes by mount point; empty at first."""

    def __init__(self) -> None:
        self._filespaces: dict[str, FilespaceIndex] = {}

    def of(self, mount_point: str) -> FilespaceIndex:
        """The state of one filespace's index, added if it is not there yet."""
        return self._filespaces.setdefault(mount_point, FilespaceIndex())

    @property
    def built(self) -> bool:
        """Whether every first scan is complete; until then a file may not be indexed yet."""
        return bool(self._filespaces) and all(it.built for it in self._filespaces.values())

    @property
    def entries(self) -> int:
        """The number of entries, including those that a first scan has counted so far."""
        return sum(it.seen for it in self._filespaces.values())

    def report(self) -> IndexReport:
        """The state for a health report: ``building``, ``ready`` or ``refused``.

        ``lastScan`` is the time of the oldest of the filespaces' last scans.
        """
        report: IndexReport = {
            "status": "ready" if self.built else "building",
            "entries": self.entries,
            "lastScan": iso_time(self._last_scan) if self.built else None,
        }
        if not (errors := self._errors()):
            return report
        return {**report, "status": "refused", "error": "; ".join(errors)}

    @property
    def _last_scan(self) -> datetime:
        return min(it.last_scan for it in self._filespaces.values() if it.last_scan is not None)

    def _errors(self) -> list[str]:
        """The distinct errors: an unavailable database is the same error for all."""
        errors = [it.error for it in self._filespaces.values() if it.error is not None]
        return list(dict.fromkeys(errors))
