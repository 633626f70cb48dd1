"""Appends lines to a file in a dedicated thread: a stalled disk must not delay requests."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.errors import SettingsError

WAITING_LINES: Final = 10_000
CLOSE_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class _Batch(NamedTuple):
    """Lines in their order, followed by ``lost`` lines for which there was no room."""

    lines: list[str]
    lost: int


class AuditFile:
    """Appends lines to the file at ``path``, in order; the file may be moved or removed meanwhile.

    Lines that cannot be written, and those beyond 10,000 pending ones, are lost and counted:
    ``format_lost`` makes the line with their number, written as soon as possible. Raises
    `SettingsError` if the file cannot be opened.
    """

    def __init__(self, path: str, format_lost: Callable[[int], str]) -> None:
        self._path = path
        self._format_lost = format_lost
        try:
            self._file = _open(path)
        except OSError as error:
            reason = error.strerror
            raise SettingsError(f"The audit log {path} cannot be opened: {reason}") from None
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._lost = 0
        self._is_idle, self._is_ending = True, False
        self._thread: threading.Thread | None = None

    def add(self, line: str) -> None:
        """Queue a line. Never waits for the file."""
        with self._changed:
            if self._is_ending or self._lost or len(self._waiting) >= WAITING_LINES:
                self._lose()
                return
            self._waiting.append(line)
            self._is_idle = False
            self._changed.notify_all()
            if self._thread is None:
                # A daemon: a disk that never answers must not delay the exit of the process.
                self._thread = threading.Thread(target=self._run, name="audit-log", daemon=True)
                self._thread.start()

    def flush(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Wait ``seconds`` at most until all lines are written; return whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_idle, seconds)

    def close(self) -> None:
        """Write the pending lines within five seconds, and accept no more."""
        is_written = self.flush()
        with self._changed:
            if self._is_ending:
                return
            self._is_ending = True
            self._changed.notify_all()
        if not is_written:
            log.error("the audit log %s takes no lines: the last are not in it", self._path)
        elif self._thread is not None:
            self._thread.join()
        else:
            os.close(self._file)

    def _lose(self) -> None:
        if not self._lost:
            log.error("the audit log %s takes no lines: they are lost, and counted", self._path)
        self._lost += 1

    def _run(self) -> None:
        unwritten = 0
        while batch := self._take():
            lines = [*batch.lines, *([self._format_lost(batch.lost)] if batch.lost else ())]
            if unwritten:
                lines.insert(0, self._format_lost(unwritten))
            is_written = self._write("".join(f"{line}\n" for line in lines), bool(unwritten))
            unwritten = 0 if is_written else unwritten + len(batch.lines) + batch.lost
        os.close(self._file)

    def _take(self) -> _Batch | None:
        """Wait for lines and return them all; None at the end."""
        with self._changed:
            if not self._waiting:
                self._is_idle = True
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._is_ending)
            if not self._waiting:
                return None
            batch = _Batch(list(self._waiting), self._lost)
            self._waiting.clear()
            self._lost = 0
            return batch

    def _write(self, text: str, has_failed: bool) -> bool:
        try:
            self._reopen_if_rotated()
            remaining = memoryview(text.encode())
            while remaining:
                remaining = remaining[os.write(self._file, remaining) :]
        except OSError as error:
            # The caller of the request can do nothing about it.
            if not has_failed:
                log.log(logging.ERROR, "the audit log cannot be written: %s", error)
            return False
        return True

    def _reopen_if_rotated(self) -> None:
        """Reopen the file if it was moved or removed."""
        opened = os.fstat(self._file)
        try:
            current = os.stat(self._path)
        except FileNotFoundError:
            current = None
        if current is None or not os.path.samestat(opened, current):
            new = _open(self._path)
            os.close(self._file)
            self._file = new


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
