"""How many folders a scan reads at once: one on a fast disk, more where reads wait."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.index import listing as index_listing
from gateway.index import scan as index_scan
from gateway.index.scan import Scan
from gateway.index.scan_concurrency import ScanConcurrency

FOLDERS = 24


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in range(FOLDERS):
        folder = tmp_path / f"{number:02}"
        folder.mkdir()
        (folder / "frame.exr").write_bytes(b"x")
    return tmp_path


class Readers:
    """Counts concurrent readers, and runs an action in each."""

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


def stop_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading folders takes no time."""
    still = SimpleNamespace(monotonic=lambda: 0.0, thread_time=lambda: 0.0)
    monkeypatch.setattr(index_scan, "time", still)


def found(scan: Scan) -> int:
    scan.start()
    return sum(len(listing.entries) for listing in scan.listings())


def test_a_slow_filespace_is_read_by_all_threads(tree, monkeypatch):
    readers = Readers(monkeypatch, lambda _path: time.sleep(0.02))
    assert found(Scan(str(tree), str(tree), 4)) == 2 * FOLDERS
    assert readers.most == 4


def test_large_slow_folders_are_read_by_all_threads(tree, monkeypatch):
    # Each takes longer to process than to wait for, but must not lower the concurrency.
    for number in range(FOLDERS):
        for frame in range(500):
            (tree / f"{number:02}" / f"{frame:04}.exr").touch()
    readers = Readers(monkeypatch, lambda _path: time.sleep(0.05))
    assert found(Scan(str(tree), str(tree), 4)) == FOLDERS * 502
    assert readers.most >= 3


def test_fast_folders_between_slow_ones_do_not_reduce_the_concurrency(tree, monkeypatch):
    at_once: list[int] = []
    slow_now: set[str] = set()

    def wait_in_some(path: str) -> None:
        if path.endswith(("3", "6", "9")):
            slow_now.add(path)
            time.sleep(0.1)
            at_once.append(len(slow_now))
            slow_now.discard(path)

    for number in range(FOLDERS, 80):
        (tree / f"{number:02}").mkdir()
    Readers(monkeypatch, wait_in_some)
    assert found(Scan(str(tree), str(tree), 4)) == 80 + FOLDERS
    assert len(at_once) == 24
    assert sum(count >= 3 for count in at_once) >= 12


def test_a_fast_filespace_is_read_by_one_thread(tree, monkeypatch):
    readers = Readers(monkeypatch, lambda _path: time.sleep(0.001))
    stop_clocks(monkeypatch)
    monkeypatch.setattr(index_scan, "PATIENCE_SECONDS", 60.0)
    assert found(Scan(str(tree), str(tree), 4)) == 2 * FOLDERS
    assert readers.most == 1


def test_waiting_for_the_database_does_not_raise_the_concurrency(tree, monkeypatch):
    readers = Readers(monkeypatch, lambda _path: time.sleep(0.001))
    stop_clocks(monkeypatch)
    monkeypatch.setattr(index_scan, "BACKLOG_ENTRIES", 5)
    monkeypatch.setattr(index_scan, "PATIENCE_SECONDS", 0.5)
    scan = Scan(str(tree), str(tree), 4)
    scan.start()
    # Nothing is fetched: the reader waits for room, longer than PATIENCE_SECONDS.
    time.sleep(1.2)
    assert sum(len(listing.entries) for listing in scan.listings()) == 2 * FOLDERS
    assert readers.most == 1


def test_a_hanging_folder_does_not_block_the_others(tree, monkeypatch):
    goes_on = threading.Event()
    hanging: list[str] = []

    def hang_in_the_first(path: str) -> None:
        if path != str(tree) and not hanging:
            hanging.append(path)
            assert goes_on.wait(30)

    for number in range(FOLDERS, 1000):
        (tree / f"{number:03}").mkdir()
    Readers(monkeypatch, hang_in_the_first)
    scan = Scan(str(tree), str(tree), 2)
    started, seen = time.monotonic(), 0
    scan.start()
    for listing in scan.listings():
        seen += len(listing.entries)
        if seen == 1000 + FOLDERS - 1:
            # One after another they would take a hundred seconds.
            assert time.monotonic() - started < 20
            goes_on.set()
    assert seen == 1000 + FOLDERS


def test_the_concurrency_doubles_with_waits_and_falls_without_them():
    concurrency = ScanConcurrency(6)
    limits = [concurrency.limit]
    for seconds in (0.125, 0.125, 0.125):
        concurrency.note_folder(seconds, processor_seconds=0.001, active=4)
        limits.append(concurrency.limit)
    for seconds in (0.125, 0.125, 0.125, 0.125):
        concurrency.note_folder(seconds, processor_seconds=0.125, active=1)
        limits.append(concurrency.limit)
    assert limits == [1, 2, 4, 6, 6, 6, 5, 4]


def test_contention_between_threads_does_not_count_as_a_wait():
    concurrency = ScanConcurrency(4)
    concurrency.note_wait(0.1)
    concurrency.note_folder(seconds=0.5, processor_seconds=0.1, active=4)
    assert concurrency.limit == 1


def test_the_concurrency_stays_between_one_and_the_maximum():
    concurrency = ScanConcurrency(1)
    for seconds in (0.0, 1.0, 0.0):
        concurrency.note_folder(seconds, processor_seconds=0.0, active=1)
        assert concurrency.limit == 1
