"""Small files that come from memory are read without being copied; all others as ever."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.mount.location import OPEN_DESCRIPTORS
from gateway.worker.readers.file_source import OPEN_FLAGS, PosixFiles
from gateway.worker.readers.openat2 import OpenNoSymlinks
from gateway.worker.readers.small_file_queue import PLENTY
from gateway.worker.readers.small_file_reader import FILES_A_LOOK, FOLDER_FLAGS, Skimmer
from support.reader_kit import Rig

pytestmark = pytest.mark.skipif(
    OpenNoSymlinks(os.O_RDONLY).open(os.devnull) is None, reason="this system has no openat2"
)

MOST = 1000


@pytest.fixture
def media(tmp_path: Path) -> Path:
    media = tmp_path.resolve() / "media"
    (media / "real").mkdir(parents=True)
    (media / "linked").symlink_to(media / "real")
    for name in ("a file", ".hidden", "Grüße"):
        (media / "real" / name).write_text("words")
    (media / "real/empty").touch()
    (media / "real/most").write_bytes(bytes(MOST))
    (media / "real/more").write_bytes(bytes(MOST + 1))
    (media / "real/link").symlink_to(media / "real/a file")
    (media / "real/folder").mkdir()
    os.mkfifo(media / "real/fifo")
    return media


def may_hold(folder: str) -> bool:
    return "forbidden" not in folder


@pytest.fixture
def skimmer() -> Iterator[Skimmer]:
    before = os.listdir(OPEN_DESCRIPTORS)
    open_folder = OpenNoSymlinks(FOLDER_FLAGS).open
    with Skimmer(OPEN_FLAGS, MOST, may_hold, open_folder, os.close) as skimmer:
        yield skimmer
    assert os.listdir(OPEN_DESCRIPTORS) == before


SMALL = {"a file": 5, ".hidden": 5, "Grüße": 5, "empty": 0, "most": MOST}


@pytest.mark.parametrize(("name", "size"), SMALL.items(), ids=SMALL)
def test_a_small_file_is_read_to_its_end(
    media: Path, skimmer: Skimmer, name: str, size: int
) -> None:
    assert skimmer.skim(f"{media}/real/{name}") == size


OTHERS = [
    "real/more",
    "real/link",
    "real/folder",
    "real/fifo",
    "real/missing",
    "real/a\0file",
    "real/\udc41\ud800",
    "real/",
    "real/.",
    "real/..",
    "real/./a file",
    "real/../real/a file",
    "linked/a file",
    "missing/a file",
]


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_else_is_left_to_the_ordinary_way(
    media: Path, skimmer: Skimmer, name: str
) -> None:
    assert skimmer.skim(f"{media}/{name}") is None
    assert skimmer.skim(f"{media}/real/a file") == 5


def test_devices_and_sockets_are_left_to_the_ordinary_way(media: Path, skimmer: Skimmer) -> None:
    assert skimmer.skim("/dev/zero") is None
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(media / "real", os.O_RDONLY)
        listener.bind(f"{OPEN_DESCRIPTORS}/{here}/socket")
        os.close(here)
    assert skimmer.skim(f"{media}/real/socket") is None


def test_what_a_folder_may_not_hold_is_left_to_the_ordinary_way(
    media: Path, skimmer: Skimmer
) -> None:
    (media / "real/forbidden").mkdir()
    (media / "real/forbidden/a file").write_text("words")
    assert skimmer.skim(f"{media}/real/forbidden/a file") is None


def test_a_file_that_shrinks_ends_at_its_new_end(
    media: Path, skimmer: Skimmer, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = os.sendfile

    def shrink(sink: int, descriptor: int, offset: int, count: int) -> int:
        os.truncate(media / "real/most", 10)
        return send(sink, descriptor, offset, count)

    monkeypatch.setattr(os, "sendfile", shrink)
    assert skimmer.skim(f"{media}/real/most") == 10


def test_what_comes_in_parts_is_read_to_its_end(
    media: Path, skimmer: Skimmer, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = os.sendfile
    monkeypatch.setattr(os, "sendfile", lambda *call: send(*call[:3], min(call[3], 300)))
    assert skimmer.skim(f"{media}/real/most") == MOST


def test_a_folder_that_another_has_replaced_is_seen_soon(media: Path, skimmer: Skimmer) -> None:
    path = f"{media}/real/a file"
    assert skimmer.skim(path) == 5
    (media / "real").rename(media / "old")
    (media / "real").mkdir()
    Path(path).write_text("other words")
    assert {skimmer.skim(path) for _ in range(FILES_A_LOOK)} == {5, 11}


def test_a_folder_that_a_link_has_replaced_is_seen_soon(media: Path, skimmer: Skimmer) -> None:
    path = f"{media}/real/a file"
    assert skimmer.skim(path) == 5
    (media / "real").rename(media / "old")
    (media / "real").symlink_to(media / "old")
    assert [skimmer.skim(path) for _ in range(FILES_A_LOOK)][-1] is None


def refuse(*_: object) -> int:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def many(rig: Rig) -> dict[str, str | None]:
    """Files as a filespace has them, and why they cannot be read."""
    expected: dict[str, str | None] = {f"a/{number}": None for number in range(PLENTY)}
    for name in expected:
        rig.file(name)
    (rig.root / "a/link").symlink_to(rig.root / "a/0")
    (rig.root.parent / "beyond").write_text("words")
    (rig.root / "a/out").symlink_to(rig.root.parent / "beyond")
    (rig.root / "a/folder").mkdir()
    return expected | {
        "a/link": None,
        "a/out": "Leads out of the filespace",
        "a/folder": "Is a directory",
        "a/missing": "No such file or directory",
    }


@pytest.mark.parametrize("sendfile", [os.sendfile, refuse], ids=["sendfile", "no sendfile"])
def test_each_file_is_read_or_told_why_not(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, sendfile: object
) -> None:
    monkeypatch.setattr(os, "sendfile", sendfile)
    expected = many(rig)
    pool = rig.pool()
    pool.submit(*(rig.task(name) for name in expected))
    outcomes = rig.outcomes(pool, len(expected))
    errors = {os.path.relpath(it.task.path, rig.root): it.error for it in outcomes}
    assert errors == expected
    readable = [it.task.bytes_read for it in outcomes if it.error is None]
    assert set(readable) == {1000}
    assert pool.bytes_read == sum(readable)


def test_a_job_that_is_cancelled_is_not_skimmed(rig: Rig) -> None:
    tasks = [rig.file(f"a/{number}") for number in range(PLENTY)]
    for task in tasks:
        task.cancelled = True
    pool = rig.pool()
    pool.submit(*tasks)
    assert {it.cancelled for it in rig.outcomes(pool, PLENTY)} == {True}
    assert pool.bytes_read == 0


def test_a_skimmer_reads_only_what_its_source_may_read(media: Path) -> None:
    outside = media.parent / "beyond"
    outside.write_text("words")
    source = PosixFiles(str(media), [str(media / "real")])
    with source.skimmer(MOST) as skimmer:
        assert skimmer is not None
        assert skimmer.skim(f"{media}/real/a file") == 5
        assert skimmer.skim(str(outside)) is None
        (media / "other").mkdir()
        (media / "other/a file").write_text("words")
        assert skimmer.skim(f"{media}/other/a file") is None
