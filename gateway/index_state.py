"""How far our own index is, where we keep one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from gateway.indexer import IndexProgress
from gateway.shapes.answers import IndexReport
from gateway.wire import iso_time


@dataclass(slots=True)
class IndexState:
    """What the last scan came to.

    ``last_scan`` is when the last good one ended, ``entries`` what it saw; ``error`` says why the
    one after it was refused or failed.
    """

    progress: IndexProgress = field(default_factory=IndexProgress)
    entries: int = 0
    last_scan: datetime | None = None
    error: str | None = None

    @property
    def built(self) -> bool:
        """Whether the first index is complete: until then a file may merely not be known yet."""
        return self.last_scan is not None

    def succeeded(self, entries: int, moment: datetime) -> None:
        """Note a good scan that ended at ``moment``."""
        self.entries, self.last_scan, self.error = entries, moment, None

    def failed(self, reason: str) -> None:
        """Note a scan that changed nothing."""
        self.error = reason

    def report(self) -> IndexReport:
        """The state for a health report: ``building``, ``ready`` or ``refused``."""
        report: IndexReport = {
            "status": "ready" if self.built else "building",
            "entries": self.entries if self.built else self.progress.entries,
            "lastScan": iso_time(self.last_scan),
        }
        if self.error is None:
            return report
        return {**report, "status": "refused", "error": self.error}
