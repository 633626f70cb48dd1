"""A file that lines are added to by a thread of its own: a disk that stalls holds up no request."""

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
    """Lines in their order; behind them so many were lost, for there was no room for them."""

    lines: list[str]
    lost: int


class AuditFile:
    """Adds lines to the file at ``path``, in the order given; it may be moved or removed meanwhile.

    Of lines that cannot be written, and of those beyond 10,000 that wait, no more is known than how
    many they are: ``tell_lost`` makes the line that says so, as soon as one can be written. Raises
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
        """Have a line written soon. This never waits for the file."""
        with self._changed:
            if self._is_ending or self._lost or len(self._waiting) >= WAITING_LINES:
                self._lose()
                return
            self._waiting.append(line)
            self._is_idle = False
            self._changed.notify_all()
            if self._thread is None:
                # A daemon: a disk that never answers must not hold up the end of the process.
                self._thread = threading.Thread(target=self._run, name="audit-log", daemon=True)
                self._thread.start()

    def flush(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Wait until what was added is written, ``seconds`` at most; say whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_idle, seconds)

    def close(self) -> None:
        """Write what waits, for five seconds at most, and add nothing any more."""
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
        """All that waits, as soon as something does; None at the end."""
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
            left = memoryview(text.encode())
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            # Whoever made the request can do nothing about it.
            if not has_failed:
                log.log(logging.ERROR, "the audit log cannot be written: %s", error)
            return False
        return True

    def _reopen_if_rotated(self) -> None:
        """Open the file anew if it was moved or removed."""
        ours = os.fstat(self._file)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            there = None
        if there is None or not os.path.samestat(ours, there):
            new = _open(self._path)
            os.close(self._file)
            self._file = new


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
