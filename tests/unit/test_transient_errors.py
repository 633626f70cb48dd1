"""Transient errors do not fail a file: a lack of descriptors, a mount that is gone."""

from __future__ import annotations

import errno
import logging
import os
import threading
from pathlib import Path

import pytest

from gateway.logs.fault_log import QUIET_SECONDS, FaultLog
from gateway.worker.readers.file_source import PosixFiles
from support.reader_kit import PATIENCE, Rig, task_for, wait_until


class RefusingFiles(PosixFiles):
    """Real files that cannot be opened while ``number`` is an errno."""

    def __init__(self, root: str, number: int) -> None:
        super().__init__(root)
        self.number = number
        self.refused = threading.Semaphore(0)

    def open(self, path: str, /) -> tuple[int, int]:
        if self.number:
            self.refused.release()
            raise OSError(self.number, os.strerror(self.number))
        return super().open(path)

    def wait_for_refusals(self, count: int) -> None:
        for _ in range(count):
            assert self.refused.acquire(timeout=PATIENCE)


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_no_file_fails_for_lack_of_resources(
    rig: Rig, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source = RefusingFiles(str(rig.root), number)
    pool = rig.pool(source)
    for name in ("a.mov", "b.mov", "c.mov"):
        pool.submit(rig.file(name))
    source.wait_for_refusals(6)
    source.number = 0
    assert [outcome.error for outcome in rig.outcomes(pool, 3)] == [None] * 3
    waiting = f"files cannot be opened, waiting: {os.strerror(number)}"
    assert messages(caplog, logging.WARNING) == [waiting]
    assert messages(caplog, logging.INFO) == ["files can be opened again"]


def test_a_file_that_waits_for_a_descriptor_can_be_cancelled(rig: Rig) -> None:
    source = RefusingFiles(str(rig.root), errno.EMFILE)
    pool = rig.pool(source)
    pool.submit(task := rig.file("a.mov"))
    source.wait_for_refusals(2)
    task.cancelled = True
    outcome = rig.outcomes(pool)[0]
    assert (outcome.error, outcome.cancelled) == (None, True)


def test_a_pool_closes_while_files_wait_for_descriptors(rig: Rig) -> None:
    source = RefusingFiles(str(rig.root), errno.EMFILE)
    pool = rig.pool(source)
    pool.submit(task := rig.file("a.mov"))
    source.wait_for_refusals(2)
    assert pool.close(PATIENCE) == [task]
    assert pool.drain() == []


def test_a_file_that_waits_is_not_taken_for_one_that_hangs(rig: Rig) -> None:
    source = RefusingFiles(str(rig.root), errno.EMFILE)
    pool = rig.pool(source, concurrency=1)
    pool.submit(rig.file("a.mov"))
    source.wait_for_refusals(4)
    [reader] = pool._readers
    wait_until(lambda: reader._is_waiting)
    assert reader.look(rig.clock.now + 10_000) is None
    source.number = 0
    assert rig.outcomes(pool)[0].error is None


@pytest.mark.parametrize("how", ["moved away", "empty", "a file"])
def test_files_wait_for_a_mount_that_is_gone(
    rig: Rig, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tasks = [rig.file(name) for name in ("a.mov", "b.mov", "c.mov")]
    away = rig.root.with_name("away")
    rig.root.rename(away)
    if how == "empty":
        rig.root.mkdir()
    if how == "a file":
        rig.root.touch()
    pool = rig.pool()
    for task in tasks:
        pool.submit(task)
    wait_until(lambda: pool.is_mount_gone)
    if how == "empty":
        rig.root.rmdir()
    if how == "a file":
        rig.root.unlink()
    away.rename(rig.root)
    assert [outcome.error for outcome in rig.outcomes(pool, 3)] == [None] * 3
    assert not pool.is_mount_gone
    gone = f"the mount point {rig.root} is gone, waiting for it"
    assert messages(caplog, logging.WARNING) == [gone]
    assert messages(caplog, logging.INFO) == [f"the mount point {rig.root} is back"]


def test_a_file_that_waits_for_the_mount_can_be_cancelled(rig: Rig) -> None:
    task = rig.file("a.mov")
    rig.root.rename(rig.root.with_name("away"))
    pool = rig.pool()
    pool.submit(task)
    wait_until(lambda: pool.is_mount_gone)
    task.cancelled = True
    outcome = rig.outcomes(pool)[0]
    assert (outcome.error, outcome.cancelled) == (None, True)
    # The next files check whether the mount is back.
    assert not pool.is_mount_gone


@pytest.mark.parametrize(
    "number", [errno.ENOTCONN, errno.EIO, errno.ESTALE, errno.EHOSTDOWN, errno.ENOENT]
)
def test_errors_on_an_available_mount_fail_the_file(rig: Rig, number: int) -> None:
    pool = rig.pool(RefusingFiles(str(rig.root), number))
    pool.submit(rig.file("a.mov"))
    assert rig.outcomes(pool)[0].error == os.strerror(number)


def test_a_mount_that_came_back_between_the_file_and_the_look_fails_no_file(rig: Rig) -> None:
    class ReturningFiles(PosixFiles):
        attempts = 0

        def open(self, path: str, /) -> tuple[int, int]:
            self.attempts += 1
            if self.attempts == 1:
                raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
            return super().open(path)

    pool = rig.pool(ReturningFiles(str(rig.root)))
    pool.submit(rig.file("a.mov"))
    assert rig.outcomes(pool)[0].error is None


def test_a_missing_file_beside_others_fails(rig: Rig) -> None:
    pool = rig.pool()
    pool.submit(task_for(Path(rig.root) / "gone" / "gone.mov"))
    assert rig.outcomes(pool)[0].error == "No such file or directory"


def test_threads_that_cannot_start_are_logged_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pool = rig.pool()

    def refuse() -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(pool, "_start_reader", refuse)
        for number in range(100):
            pool.submit(rig.file(f"{number}.mov"))
        pool.check_stalled()
    assert messages(caplog, logging.WARNING) == ["A thread to read files with could not be started"]
    pool.check_stalled()
    assert {outcome.error for outcome in rig.outcomes(pool, 100)} == {None}
    assert messages(caplog, logging.INFO) == ["All threads to read files with could be started"]


def test_an_outage_is_logged_when_it_begins_and_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    now = [0.0]
    fault = FaultLog(logging.getLogger("test"), "over", clock=lambda: now[0])
    fault.end("unknown")
    for key in ("one", "two", "one"):
        fault.begin(key, "away", " (because)")
    fault.begin("three", "locked")
    for key in ("one", "two", "three"):
        assert fault.is_active
        fault.end(key)
    assert not fault.is_active
    assert caplog.messages == ["away (because)", "locked", "over"]
    fault.begin("one", "away")
    fault.end("one")
    assert caplog.messages[3:] == []
    now[0] = QUIET_SECONDS
    fault.begin("one", "away")
    assert caplog.messages[3:] == ["away"]
