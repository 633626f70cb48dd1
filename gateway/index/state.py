"""How far our own index is, where we keep one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from gateway.formatting import iso_time
from gateway.index.indexer import IndexProgress
from gateway.schemas.responses import IndexReport


@dataclass(slots=True)
class FilespaceIndex:
    """What the last scan of one filespace came to.

    ``last_scan`` is when the last good one ended, ``entries`` what it saw; ``error`` says why the
    one after it was refused or failed.
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
        """The entries of the last good scan, or what the first one has seen so far."""
        return self.entries if self.built else self.progress.entries

    def succeeded(self, entries: int, moment: datetime) -> None:
        """Note a good scan that ended at ``moment``."""
        self.entries, self.last_scan, self.error = entries, moment, None

    def failed(self, reason: str) -> None:
        """Note a scan that changed nothing."""
        self.error = reason


class IndexState:
    """The index of all filespaces, each by its mount point; it starts without any."""

    def __init__(self) -> None:
        self._filespaces: dict[str, FilespaceIndex] = {}

    def of(self, mount_point: str) -> FilespaceIndex:
        """The index of one filespace, which counts from now on."""
        return self._filespaces.setdefault(mount_point, FilespaceIndex())

    @property
    def built(self) -> bool:
        """Whether the first index is complete: until then a file may merely not be known yet."""
        return bool(self._filespaces) and all(it.built for it in self._filespaces.values())

    @property
    def entries(self) -> int:
        """What is indexed or, of a filespace that is not indexed yet, was seen so far."""
        return sum(it.seen for it in self._filespaces.values())

    def report(self) -> IndexReport:
        """The state for a health report: ``building``, ``ready`` or ``refused``.

        ``lastScan`` is when that scan ended since when every filespace was looked at.
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
        """Each once: a database that is away is the same for all."""
        errors = [it.error for it in self._filespaces.values() if it.error is not None]
        return list(dict.fromkeys(errors))
