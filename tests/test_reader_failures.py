"""What cannot be read, or leads out of the filespace, fails alone and with its reason."""

from __future__ import annotations

import errno
import logging
import os
import socket
from pathlib import Path

import pytest
from reader_kit import (
    CHUNK,
    Bench,
    open_descriptors,
    task_for,
)
from superpowers import powerless

from gateway.worker.file_source import PosixFiles


def test_a_missing_file_fails_with_the_reason(bench: Bench) -> None:
    assert bench.read(bench.root / "gone.mov").error == "No such file or directory"


def test_a_directory_fails_with_the_reason(bench: Bench) -> None:
    (bench.root / "reel").mkdir()
    assert bench.read(bench.root / "reel").error == "Is a directory"


def test_a_name_too_long_fails_with_the_reason(bench: Bench) -> None:
    assert bench.read(bench.root / ("n" * 300)).error == "File name too long"


def test_an_unreadable_file_fails_with_the_reason(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = bench.file("secret.mov")
    os.chmod(task.path, 0)
    monkeypatch.setattr(PosixFiles, "open", powerless(PosixFiles.open))
    assert bench.read(task.path).error == "Permission denied"


def test_a_refusal_of_the_filesystem_is_told_in_its_words(bench: Bench) -> None:
    class RefusingFiles(PosixFiles):
        def open(self, path: str, /) -> tuple[int, int]:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    pool = bench.pool(RefusingFiles(str(bench.root)))
    pool.submit(bench.file("a.mov"))
    assert bench.outcomes(pool)[0].error == "Permission denied"


def test_a_read_error_half_way_fails_and_closes_the_file(bench: Bench) -> None:
    class TornFiles(PosixFiles):
        def read(self, descriptor, buffers, offset, /) -> int:  # type: ignore[no-untyped-def, override]
            if offset:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return os.preadv(descriptor, buffers, offset)

    pool = bench.pool(TornFiles(str(bench.root)))
    before = open_descriptors()
    task = bench.file("a.mov", 3 * CHUNK)
    pool.submit(task)
    assert bench.outcomes(pool)[0].error == "Input/output error"
    assert task.bytes_read == CHUNK
    assert open_descriptors() == before


def test_a_fifo_is_refused_without_waiting_for_a_writer(bench: Bench) -> None:
    os.mkfifo(bench.root / "pipe")
    assert bench.read(bench.root / "pipe").error == "Not a regular file"


def test_a_socket_is_refused(bench: Bench) -> None:
    # By its relative name: the whole one may be too long for a socket's address.
    directory = os.open(bench.root, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{directory}/socket")
        assert bench.read(bench.root / "socket").error == "Not a regular file"
    os.close(directory)


def test_a_link_to_a_device_is_refused(bench: Bench) -> None:
    (bench.root / "zero").symlink_to("/dev/zero")
    assert bench.read(bench.root / "zero").error == "Not a regular file"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/a\0b.mov", "The name contains a null character"),
        ("/\ud800.mov", "The name cannot be encoded for the filesystem"),
        ("", "No such file or directory"),
    ],
)
def test_a_name_that_no_filesystem_takes_fails_with_a_reason(
    bench: Bench, path: str, reason: str
) -> None:
    assert bench.read(str(bench.root) + path if path else path).error == reason


@pytest.mark.parametrize("error", [MemoryError(), ValueError("surprise"), OSError("no number")])
def test_a_thread_survives_any_error_and_names_it(
    bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    class SurprisingFiles(PosixFiles):
        def open(self, path: str, /) -> tuple[int, int]:
            if path.endswith("surprise.mov"):
                raise error
            return super().open(path)

    pool = bench.pool(SurprisingFiles(str(bench.root)), concurrency=1)
    pool.submit(bench.file("surprise.mov"))
    pool.submit(bench.file("b.mov"))
    outcomes = bench.outcomes(pool, 2)
    assert [outcome.error for outcome in outcomes] == [type(error).__name__, None]
    unexpected = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(unexpected) == (not isinstance(error, OSError))


def test_a_failed_file_closes_what_it_opened(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "outside.mov").write_bytes(b"x")
    (bench.root / "out.mov").symlink_to(tmp_path / "outside.mov")
    (bench.root / "reel").mkdir()
    before = open_descriptors()
    pool = bench.pool()
    for name in ("out.mov", "reel", "gone.mov"):
        pool.submit(task_for(bench.root / name))
    assert all(outcome.error for outcome in bench.outcomes(pool, 3))
    assert open_descriptors() == before


def test_a_link_to_a_file_inside_is_read(bench: Bench) -> None:
    target = bench.file("reel/a.mov", 123)
    (bench.root / "link.mov").symlink_to(target.path)
    outcome = bench.read(bench.root / "link.mov")
    assert (outcome.error, outcome.task.bytes_read) == (None, 123)


@pytest.mark.parametrize("target", ["outside.mov", "media-2/a.mov", "media.mov"])
def test_a_link_that_leads_out_is_refused(bench: Bench, tmp_path: Path, target: str) -> None:
    (tmp_path / target).parent.mkdir(exist_ok=True)
    (tmp_path / target).write_bytes(b"secret")
    (bench.root / "link.mov").symlink_to(tmp_path / target)
    outcome = bench.read(bench.root / "link.mov")
    assert (outcome.error, outcome.task.bytes_read) == ("Leads out of the filespace", 0)


def test_a_linked_folder_that_leads_out_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_bytes(b"secret")
    (bench.root / "reel").symlink_to(tmp_path / "etc")
    assert bench.read(bench.root / "reel" / "passwd").error == "Leads out of the filespace"


def test_dots_that_lead_out_are_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "outside.mov").write_bytes(b"secret")
    assert bench.read(f"{bench.root}/../outside.mov").error == "Leads out of the filespace"


def test_a_root_that_is_a_link_is_no_way_out(bench: Bench, tmp_path: Path) -> None:
    bench.file("a.mov", 5)
    (tmp_path / "mount").symlink_to(bench.root)
    bench.root = tmp_path / "mount"
    assert bench.read(bench.root / "a.mov").error is None


@pytest.mark.parametrize("end", ["/", "//", "/."])
def test_a_root_may_end_in_slashes(bench: Bench, end: str) -> None:
    task = bench.file("a.mov")
    pool = bench.pool(PosixFiles(str(bench.root) + end))
    pool.submit(task)
    assert bench.outcomes(pool)[0].error is None


def test_the_root_of_all_files_holds_every_file(bench: Bench) -> None:
    pool = bench.pool(PosixFiles("/"))
    pool.submit(bench.file("a.mov"))
    assert bench.outcomes(pool)[0].error is None


def test_without_proc_the_path_itself_is_resolved(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.location.OPEN_DESCRIPTORS", str(tmp_path / "no-proc"))
    (tmp_path / "outside.mov").write_bytes(b"secret")
    (bench.root / "out.mov").symlink_to(tmp_path / "outside.mov")
    assert bench.read(bench.file("a.mov").path).error is None
    assert bench.read(bench.root / "out.mov").error == "Leads out of the filespace"
