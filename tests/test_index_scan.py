"""How many folders a scan reads at once: one from a quick disk, more where it has to wait."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import index_listing, index_scan
from gateway.index_scan import Scan
from gateway.scan_concurrency import WAITED_SECONDS, ScanConcurrency

FOLDERS = 24


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in range(FOLDERS):
        folder = tmp_path / f"{number:02}"
        folder.mkdir()
        (folder / "frame.exr").write_bytes(b"x")
    return tmp_path


class Readers:
    """Counts who asks for a folder's entries, and has each do something meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[str], None]) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._meanwhile = meanwhile
        self._scandir = os.scandir
        monkeypatch.setattr(index_listing.os, "scandir", self._read)

    def _read(self, path: str) -> Any:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            self._meanwhile(path)
            return self._scandir(path)
        finally:
            with self._lock:
                self._now -= 1


def found(scan: Scan) -> int:
    scan.start()
    return sum(len(listing.entries) for listing in scan.listings())


def test_a_filespace_that_is_waited_for_is_read_by_all_threads(tree, monkeypatch):
    readers = Readers(monkeypatch, lambda _path: time.sleep(0.02))
    assert found(Scan(str(tree), str(tree), 4)) == 2 * FOLDERS
    assert readers.most == 4


def test_a_filespace_that_answers_at_once_is_read_by_one_thread(tree, monkeypatch):
    readers = Readers(monkeypatch, lambda _path: time.sleep(0.001))
    # The clock stands still: no folder takes any time.
    monkeypatch.setattr(index_scan, "time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr(index_scan, "PATIENCE_SECONDS", 60.0)
    assert found(Scan(str(tree), str(tree), 4)) == 2 * FOLDERS
    assert readers.most == 1


def test_a_folder_that_hangs_keeps_no_other_from_being_read(tree, monkeypatch):
    goes_on = threading.Event()
    hanging: list[str] = []

    def hang_in_the_first(path: str) -> None:
        if path != str(tree) and not hanging:
            hanging.append(path)
            assert goes_on.wait(30)

    Readers(monkeypatch, hang_in_the_first)
    scan = Scan(str(tree), str(tree), 2)
    scan.start()
    seen = 0
    for listing in scan.listings():
        seen += len(listing.entries)
        if seen == 2 * FOLDERS - 1:
            assert listing.directory not in hanging
            goes_on.set()
    assert seen == 2 * FOLDERS


def test_the_concurrency_doubles_after_slow_folders_and_falls_slowly_after_quick_ones():
    concurrency = ScanConcurrency(6)
    limits = [concurrency.limit]
    slow, quick = 2 * WAITED_SECONDS, 0.5 * WAITED_SECONDS
    for seconds in (slow, slow, slow, quick, quick, slow):
        concurrency.folder_read(entries=9, seconds=10 * seconds)
        limits.append(concurrency.limit)
    assert limits == [1, 2, 4, 6, 5, 4, 6]


def test_the_concurrency_is_never_none_and_never_more_than_allowed():
    concurrency = ScanConcurrency(1)
    for seconds in (0.0, 1.0, 0.0):
        concurrency.folder_read(entries=0, seconds=seconds)
        assert concurrency.limit == 1
