"""How far our own index is, where we keep one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.indexer import IndexProgress


@dataclass(slots=True)
class IndexState:
    """``built``: the first index is complete. Until then a file may merely not be known yet."""

    progress: IndexProgress = field(default_factory=IndexProgress)
    built: bool = False

    def report(self) -> dict[str, Any]:
        """The state for a health report: ``building`` or ``ready``, and entries seen."""
        return {
            "status": "ready" if self.built else "building",
            "entries": self.progress.entries,
        }
