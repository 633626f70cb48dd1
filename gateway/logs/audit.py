"""The audit log: one line of JSON for each change and each refused attempt."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from gateway.formatting import iso_now
from gateway.logs.audit_file import AuditFile

Outcome = Literal["created", "done", "refused", "failed", "unknown"]

AUDIT: Final = "gateway.audit"
"""The logger for the lines if no file is configured."""

MAX_TEXT_LENGTH: Final = 300
MAX_ITEMS: Final = 10


class AuditLog:
    """Writes to the file at ``path``, or, if that is empty, to the logger `AUDIT`.

    The file is reopened after it was moved or removed, so it may be rotated. A dedicated thread
    writes it, see `AuditFile`. Values are cut to a bounded length; callers must pass no secrets.
    Raises `SettingsError` if the file cannot be opened.
    """

    def __init__(self, path: str = "") -> None:
        self._file = AuditFile(path, format_lost) if path else None
        self._logger = logging.getLogger(AUDIT)
        if self._logger.level == logging.NOTSET:
            # LOG_LEVEL must not filter the audit log.
            self._logger.setLevel(logging.INFO)

    def close(self) -> None:
        """Write the pending lines to the file, if there is one, and close it."""
        if self._file is not None:
            self._file.close()

    def flush(self) -> None:
        """Wait a few seconds at most until all lines are written."""
        if self._file is not None:
            self._file.flush()

    def write(
        self, event: str, outcome: Outcome, caller: str | None, address: str | None, **more: Any
    ) -> None:
        """Write a line. ``caller`` is the key's name, or None for an unauthenticated client.

        Values of ``more`` that are None are left out.
        """
        line = _line(event, outcome, caller, address, more)
        if self._file is None:
            self._logger.info("%s", line)
        else:
            self._file.add(line)


def _line(
    event: str, outcome: Outcome, caller: str | None, address: str | None, more: Mapping[str, Any]
) -> str:
    entry = {
        "time": iso_now(),
        "event": event,
        "outcome": outcome,
        "caller": caller,
        "address": address,
        **{name: _bounded(value) for name, value in more.items() if value is not None},
    }
    # ASCII only: file names may contain newlines or lone surrogates.
    return json.dumps(entry, separators=(",", ":"), default=str)


def format_lost(number: int) -> str:
    """The line that replaces ``number`` lines that could not be written."""
    return _line("audit.lost", "unknown", None, None, {"lines": number})


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT_LENGTH else f"{value[:MAX_TEXT_LENGTH]}…"
    if isinstance(value, Mapping):
        return {name: _bounded(one) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [_bounded(one) for one in value[:MAX_ITEMS]]
    return value
