"""The audit log: one line of JSON for each thing that was changed, and for each refused attempt."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from logging.handlers import WatchedFileHandler
from typing import Any, Final, Literal

from gateway.errors import SettingsError
from gateway.wire import iso_now

Outcome = Literal["created", "done", "refused", "failed", "unknown"]

AUDIT: Final = "gateway.audit"
"""The logger that the lines go to where no file is named."""

LONGEST_TEXT: Final = 300
SHOWN: Final = 10

log = logging.getLogger(__name__)


class AuditLog:
    """Writes to the file at ``path``, or, where that is empty, to the ordinary logs.

    The file is opened anew when it was moved or removed, so logs may be rotated under it. What it
    is given is cut to a bounded length; secrets are never given to it. Raises `SettingsError` if
    the file cannot be opened.
    """

    def __init__(self, path: str = "") -> None:
        self._file = _open(path) if path else None
        self._logger = logging.getLogger(AUDIT)
        if self._logger.level == logging.NOTSET:
            # LOG_LEVEL is about faults, not about who did what.
            self._logger.setLevel(logging.INFO)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def write(
        self, event: str, outcome: Outcome, caller: str | None, address: str | None, **more: Any
    ) -> None:
        """Write a line. ``caller`` is the name of the key, or None for a stranger.

        What is None among ``more`` is left out.
        """
        entry = {
            "time": iso_now(),
            "event": event,
            "outcome": outcome,
            "caller": caller,
            "address": address,
            **{name: _bounded(value) for name, value in more.items() if value is not None},
        }
        # All of it escaped: no name of a file begins a line of its own, or is no Unicode.
        line = json.dumps(entry, separators=(",", ":"), default=str)
        if self._file is None:
            self._logger.info("%s", line)
        else:
            record = self._logger.makeRecord(AUDIT, logging.INFO, "", 0, "%s", (line,), None)
            self._file.handle(record)


class _File(WatchedFileHandler):
    """A file that is opened anew when it was moved; one that cannot be written is told of once."""

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8")
        self._has_failed = False
        self._is_told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        self._has_failed = False
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)
        self._is_told = self._has_failed

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Say it: whoever made the request can do nothing about it."""
        self._has_failed = True
        if not self._is_told:
            log.error("the audit log cannot be written: %s", sys.exc_info()[1])


def _open(path: str) -> logging.Handler:
    try:
        return _File(path)
    except OSError as error:
        raise SettingsError(f"The audit log {path} cannot be opened: {error.strerror}") from None


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else f"{value[:LONGEST_TEXT]}…"
    if isinstance(value, Mapping):
        return {name: _bounded(one) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [_bounded(one) for one in value[:SHOWN]]
    return value
