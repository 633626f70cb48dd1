"""The audit log's file on a stalled disk: nothing waits for it, and lost lines are counted."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.http import app_keys
from gateway.logs import audit_file
from gateway.logs.audit_file import AuditFile
from support.database import StartApi
from support.key_kit import JOBS

UNKNOWN = f"{JOBS}/7d3b3a52-3d3f-4a53-9c07-9c8b6f5e9a10"


class Stalled(NamedTuple):
    """A FIFO that blocks until it is read; ``rubbish`` bytes fill it."""

    path: Path
    reader: int
    rubbish: int

    def read(self) -> list[str]:
        """Unblock it, and return its lines without the filling."""
        while not (text := self._read_now()):
            pass
        while more := self._read_now():
            text += more
        return text.decode().splitlines()

    def make_room(self) -> None:
        left = self.rubbish
        while left:
            left -= len(os.read(self.reader, left))

    def _read_now(self) -> bytes:
        try:
            return os.read(self.reader, 1 << 20)
        except BlockingIOError:
            return b""


@pytest.fixture
def stalled(tmp_path: Path) -> Iterator[Stalled]:
    path = tmp_path / "audit"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    rubbish = 0
    while True:
        try:
            rubbish += os.write(writer, b"x" * 4096)
        except BlockingIOError:
            break
    yield Stalled(path, reader, rubbish)
    os.close(writer)
    os.close(reader)


def open_file(path: Path) -> AuditFile:
    return AuditFile(str(path), "{} lost".format)


def wait_until_taken(file: AuditFile) -> None:
    """Wait until the thread writes the added lines."""
    with file._changed:
        while file._waiting:
            file._changed.wait(0.01)


async def test_requests_are_answered_while_the_file_is_stalled(
    start_api: StartApi, stalled: Stalled
) -> None:
    api = await start_api(audit_log=str(stalled.path))
    for number in range(20):
        headers = {"X-Request-ID": f"request-{number:02}"}
        assert (await api.delete(UNKNOWN, headers=headers)).status == 404
    stalled.make_room()
    assert await asyncio.to_thread(api.app[app_keys.AUDIT_LOG].flush) is None
    request_ids = [line.partition('"requestId":"')[2][:10] for line in stalled.read()]
    assert request_ids == [f"request-{number:02}" for number in range(20)]


def test_dropped_lines_are_counted_in_their_place(
    stalled: Stalled, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit_file, "WAITING_LINES", 3)
    file = open_file(stalled.path)
    file.add("first")
    wait_until_taken(file)
    for number in range(8):
        file.add(f"{number}")
    stalled.make_room()
    assert file.flush(30.0)
    file.add("last")
    file.close()
    assert stalled.read() == ["first", "0", "1", "2", "5 lost", "last"]
    assert [r.levelno for r in caplog.records] == [logging.ERROR]


def test_a_stalled_file_delays_closing_for_a_limited_time(
    stalled: Stalled, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = open_file(stalled.path)
    file.add("last")
    wait_until_taken(file)
    assert not file.flush(0.01)
    monkeypatch.setattr(file, "flush", lambda: False)
    file.close()
    assert "the last are not in it" in caplog.text
    stalled.make_room()
    assert file._thread is not None
    file._thread.join()
    assert stalled.read() == ["last"]


def test_a_line_after_closing_is_logged_as_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = open_file(tmp_path / "audit")
    file.close()
    file.close()
    file.add("late")
    assert "takes no lines" in caplog.text
    assert (tmp_path / "audit").read_text() == ""


def test_all_lines_are_written_in_order(tmp_path: Path) -> None:
    file = open_file(tmp_path / "audit")
    for number in range(5000):
        file.add(f"{number}")
    file.close()
    assert (tmp_path / "audit").read_text().splitlines() == [f"{n}" for n in range(5000)]
