"""What cannot be indexed is skipped, and its existing rows stay."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import IndexRefused
from gateway.index import indexer, listing
from gateway.index.indexer import Indexer
from gateway.index.scan import Scan
from support import superpowers
from support.indexer_tools import paths_below, read_rows, write, written


async def test_a_link_to_a_file_inside_the_filespace_is_that_file(index, settings, mount):
    target = write(mount / "target", "12345")
    (mount / "folder").mkdir()
    (mount / "folder" / "link").symlink_to("../target")
    result = await index()
    rows = read_rows(settings)
    link = rows[f"{mount}/folder/link"]
    assert (link.is_directory, link.size) == (False, 5)
    assert link.modified_at == rows[str(target)].modified_at
    assert result.problem_count == 0
    assert written(await index()) == (0, 0, 0)


async def test_links_to_folders_are_neither_followed_nor_indexed(index, settings, mount):
    write(mount / "folder" / "file")
    (mount / "folder" / "loop").symlink_to(mount)
    (mount / "shortcut").symlink_to("folder")
    (mount / "self").symlink_to(".")
    result = await index()
    assert paths_below(settings, mount) == {"folder", "folder/file"}
    assert result.problem_count == 0


async def test_broken_links_and_links_out_of_the_filespace_are_reported(
    index, settings, mount, tmp_path
):
    write(tmp_path / "outside")
    write(tmp_path / "filespace-2" / "neighbour")
    (mount / "out").symlink_to(tmp_path / "outside")
    (mount / "near").symlink_to("../filespace-2/neighbour")
    (mount / "dangling").symlink_to("nothing")
    (mount / "circle").symlink_to("circle")
    write(mount / "a")
    result = await index()
    assert paths_below(settings, mount) == {"a"}
    assert {(Path(p.path).name, p.reason) for p in result.problems} == {
        ("out", "the link leads out of the filespace"),
        ("near", "the link leads out of the filespace"),
        ("dangling", "the link leads nowhere"),
        ("circle", "the link leads nowhere"),
    }


async def test_a_mount_point_that_is_a_link_works(settings, mount, tmp_path):
    write(mount / "a")
    (mount / "b").symlink_to("a")
    link = tmp_path / "link"
    link.symlink_to(mount)
    settings = settings.model_copy(update={"container_mount_point": str(link)})
    result = await Indexer(settings).index(str(link))
    assert set(read_rows(settings)) == {str(link), f"{link}/a", f"{link}/b"}
    assert result.problem_count == 0


async def test_pipes_sockets_and_devices_are_skipped(index, settings, mount):
    os.mkfifo(mount / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        with contextmanager_chdir(mount):
            server.bind("socket")
        write(mount / "a")
        result = await index()
    assert paths_below(settings, mount) == {"a"}
    assert (result.files, result.problem_count) == (1, 0)


@contextmanager
def contextmanager_chdir(folder: Path) -> Iterator[None]:
    """A socket's address is limited to about 100 bytes; the folder's path may be longer."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


async def test_names_that_are_not_utf8_are_reported_and_skipped(index, settings, mount):
    write(mount / "a")
    raw = os.fsencode(mount)
    (Path(os.fsdecode(raw + b"/caf\xe9.mov"))).write_text("x")
    write(Path(os.fsdecode(raw + b"/folder\n\xff")) / "inside")
    result = await index()
    assert paths_below(settings, mount) == {"a"}
    assert {(p.path, p.reason) for p in result.problems} == {
        (f"{mount}/caf\\xe9.mov", "the name is not UTF-8"),
        (f"{mount}/folder\\n\\xff", "the name is not UTF-8"),
    }


async def test_a_path_too_long_for_the_database_is_reported_and_skipped(index, settings, mount):
    write(mount / "a")
    deep = mount
    for number in range(11):
        deep /= f"{number:02d}" * 125
    write(deep / "inside")
    result = await index()
    assert "a" in paths_below(settings, mount)
    assert [p.reason for p in result.problems] == ["the path is too long"]
    assert max(len(path) for path in read_rows(settings)) > 2_000


async def test_only_the_first_hundred_problems_are_kept(index, mount):
    for number in range(130):
        (mount / str(number)).symlink_to("nothing")
    write(mount / "a")
    result = await index()
    assert (len(result.problems), result.problem_count) == (100, 130)


@pytest.fixture
def powerless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the filespace without root's privileges."""

    monkeypatch.setattr(Scan, "_work", superpowers.powerless(Scan._work))
    monkeypatch.setattr(indexer, "_read_root", superpowers.powerless(indexer._read_root))


async def test_rows_below_an_unreadable_folder_stay(index, settings, mount, powerless):
    write(mount / "locked" / "deep" / "a")
    write(mount / "locked-not" / "b")
    write(mount / "c")
    await index()
    before = read_rows(settings)
    shutil.rmtree(mount / "locked" / "deep")
    shutil.rmtree(mount / "locked-not")
    (mount / "locked").chmod(0)
    try:
        result = await index()
    finally:
        (mount / "locked").chmod(0o755)

    assert paths_below(settings, mount) == {"locked", "locked/deep", "locked/deep/a", "c"}
    for name in ("locked/deep", "locked/deep/a"):
        assert read_rows(settings)[f"{mount}/{name}"] == before[f"{mount}/{name}"]
    assert [(p.path, p.reason) for p in result.problems] == [
        (f"{mount}/locked", "Permission denied")
    ]
    await index()
    assert paths_below(settings, mount) == {"locked", "c"}


async def test_files_of_a_folder_that_may_only_be_listed_stay(index, settings, mount, powerless):
    write(mount / "folder" / "a")
    await index()
    (mount / "folder").chmod(0o444)
    try:
        result = await index()
    finally:
        (mount / "folder").chmod(0o755)
    assert paths_below(settings, mount) == {"folder", "folder/a"}
    assert [p.path for p in result.problems] == [f"{mount}/folder/a"]


async def test_an_unreadable_filespace_is_refused(index, settings, mount, powerless):
    write(mount / "a")
    await index()
    mount.chmod(0)
    try:
        with pytest.raises(IndexRefused, match="Permission denied"):
            await index(allow_empty=True)
    finally:
        mount.chmod(0o755)
    assert paths_below(settings, mount) == {"a"}


async def test_a_folder_that_vanishes_during_the_scan_is_reported(
    index, settings, mount, monkeypatch
):
    write(mount / "folder" / "a")
    write(mount / "b")
    await index()
    scandir = os.scandir

    def remove_then_scan(path: str) -> Any:
        if path == f"{mount}/folder":
            shutil.move(path, mount.parent / "away")
        return scandir(path)

    monkeypatch.setattr(listing.os, "scandir", remove_then_scan)
    result = await index()
    assert [p.path for p in result.problems] == [f"{mount}/folder"]
    assert paths_below(settings, mount) == {"folder", "folder/a", "b"}
    monkeypatch.undo()
    await index()
    assert paths_below(settings, mount) == {"b"}
