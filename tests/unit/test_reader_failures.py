"""What cannot be read, or leads out of the filespace, fails alone and with its reason."""

from __future__ import annotations

import errno
import logging
import os
import socket
from pathlib import Path

import pytest

from gateway.worker.readers.file_source import PosixFiles
from support.reader_kit import (
    CHUNK,
    Rig,
    task_for,
)
from support.superpowers import powerless


def test_a_missing_file_fails_with_the_reason(rig: Rig) -> None:
    assert rig.read(rig.root / "gone.mov").error == "No such file or directory"


def test_a_directory_fails_with_the_reason(rig: Rig) -> None:
    (rig.root / "reel").mkdir()
    assert rig.read(rig.root / "reel").error == "Is a directory"


def test_a_name_too_long_fails_with_the_reason(rig: Rig) -> None:
    assert rig.read(rig.root / ("n" * 300)).error == "File name too long"


def test_an_unreadable_file_fails_with_the_reason(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = rig.file("secret.mov")
    os.chmod(task.path, 0)
    monkeypatch.setattr(PosixFiles, "open", powerless(PosixFiles.open))
    assert rig.read(task.path).error == "Permission denied"


def test_a_refusal_of_the_filesystem_is_told_in_its_words(rig: Rig) -> None:
    class RefusingFiles(PosixFiles):
        def open(self, path: str, /) -> tuple[int, int]:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    pool = rig.pool(RefusingFiles(str(rig.root)))
    pool.submit(rig.file("a.mov"))
    assert rig.outcomes(pool)[0].error == "Permission denied"


def test_a_read_error_half_way_fails_and_closes_the_file(rig: Rig) -> None:
    class TornFiles(PosixFiles):
        def read(self, descriptor, buffers, offset, /) -> int:  # type: ignore[no-untyped-def, override]
            if offset:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return os.preadv(descriptor, buffers, offset)

    pool = rig.pool(TornFiles(str(rig.root)))
    before = rig.descriptors()
    task = rig.file("a.mov", 3 * CHUNK)
    pool.submit(task)
    assert rig.outcomes(pool)[0].error == "Input/output error"
    assert task.bytes_read == CHUNK
    assert rig.descriptors() == before


def test_a_fifo_is_refused_without_waiting_for_a_writer(rig: Rig) -> None:
    os.mkfifo(rig.root / "pipe")
    assert rig.read(rig.root / "pipe").error == "Not a regular file"


def test_a_socket_is_refused(rig: Rig) -> None:
    # By its relative name: the whole one may be too long for a socket's address.
    directory = os.open(rig.root, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{directory}/socket")
        assert rig.read(rig.root / "socket").error == "Not a regular file"
    os.close(directory)


def test_a_link_to_a_device_is_refused(rig: Rig) -> None:
    (rig.root / "zero").symlink_to("/dev/zero")
    assert rig.read(rig.root / "zero").error == "Not a regular file"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/a\0b.mov", "The name contains a null character"),
        ("/\ud800.mov", "The name cannot be encoded for the filesystem"),
        ("", "No such file or directory"),
    ],
)
def test_a_name_that_no_filesystem_takes_fails_with_a_reason(
    rig: Rig, path: str, reason: str
) -> None:
    assert rig.read(str(rig.root) + path if path else path).error == reason


@pytest.mark.parametrize("error", [MemoryError(), ValueError("surprise"), OSError("no number")])
def test_a_thread_survives_any_error_and_names_it(
    rig: Rig, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    class SurprisingFiles(PosixFiles):
        def open(self, path: str, /) -> tuple[int, int]:
            if path.endswith("surprise.mov"):
                raise error
            return super().open(path)

    pool = rig.pool(SurprisingFiles(str(rig.root)), concurrency=1)
    pool.submit(rig.file("surprise.mov"))
    pool.submit(rig.file("b.mov"))
    outcomes = rig.outcomes(pool, 2)
    assert [outcome.error for outcome in outcomes] == [type(error).__name__, None]
    unexpected = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(unexpected) == (not isinstance(error, OSError))


def test_a_failed_file_closes_what_it_opened(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "outside.mov").write_bytes(b"x")
    (rig.root / "out.mov").symlink_to(tmp_path / "outside.mov")
    (rig.root / "reel").mkdir()
    before = rig.descriptors()
    pool = rig.pool()
    for name in ("out.mov", "reel", "gone.mov"):
        pool.submit(task_for(rig.root / name))
    assert all(outcome.error for outcome in rig.outcomes(pool, 3))
    assert rig.descriptors() == before


def test_a_link_to_a_file_inside_is_read(rig: Rig) -> None:
    target = rig.file("reel/a.mov", 123)
    (rig.root / "link.mov").symlink_to(target.path)
    outcome = rig.read(rig.root / "link.mov")
    assert (outcome.error, outcome.task.bytes_read) == (None, 123)


@pytest.mark.parametrize("target", ["outside.mov", "media-2/a.mov", "media.mov"])
def test_a_link_that_leads_out_is_refused(rig: Rig, tmp_path: Path, target: str) -> None:
    (tmp_path / target).parent.mkdir(exist_ok=True)
    (tmp_path / target).write_bytes(b"secret")
    (rig.root / "link.mov").symlink_to(tmp_path / target)
    outcome = rig.read(rig.root / "link.mov")
    assert (outcome.error, outcome.task.bytes_read) == ("Leads out of the filespace", 0)


def test_a_linked_folder_that_leads_out_is_refused(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_bytes(b"secret")
    (rig.root / "reel").symlink_to(tmp_path / "etc")
    assert rig.read(rig.root / "reel" / "passwd").error == "Leads out of the filespace"


def test_dots_that_lead_out_are_refused(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "outside.mov").write_bytes(b"secret")
    assert rig.read(f"{rig.root}/../outside.mov").error == "Leads out of the filespace"


def test_a_root_that_is_a_link_is_no_way_out(rig: Rig, tmp_path: Path) -> None:
    rig.file("a.mov", 5)
    (tmp_path / "mount").symlink_to(rig.root)
    rig.root = tmp_path / "mount"
    assert rig.read(rig.root / "a.mov").error is None


@pytest.mark.parametrize("end", ["/", "//", "/."])
def test_a_root_may_end_in_slashes(rig: Rig, end: str) -> None:
    task = rig.file("a.mov")
    pool = rig.pool(PosixFiles(str(rig.root) + end))
    pool.submit(task)
    assert rig.outcomes(pool)[0].error is None


def test_the_root_of_all_files_holds_every_file(rig: Rig) -> None:
    pool = rig.pool(PosixFiles("/"))
    pool.submit(rig.file("a.mov"))
    assert rig.outcomes(pool)[0].error is None


def test_without_proc_the_path_itself_is_resolved(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.mount.location.OPEN_DESCRIPTORS", str(tmp_path / "no-proc"))
    (tmp_path / "outside.mov").write_bytes(b"secret")
    (rig.root / "out.mov").symlink_to(tmp_path / "outside.mov")
    assert rig.read(rig.file("a.mov").path).error is None
    assert rig.read(rig.root / "out.mov").error == "Leads out of the filespace"
