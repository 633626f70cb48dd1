"""The status of paths behind links that stay in the filespace or leave it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.mount import location
from gateway.mount.path_status import (
    ENTRIES_SEARCHED,
    DirectoryContent,
    PathInspector,
    PathKind,
    PathStatus,
    content_of,
)

OUTSIDE = PathStatus(PathKind.OUTSIDE)


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """A mount with links, next to a folder outside it."""
    mount, other = tmp_path / "media", tmp_path / "media too"
    for folder in (mount, other):
        (folder / "reel").mkdir(parents=True)
        (folder / "reel" / "a.mov").write_bytes(b"x" * 7)
    for link, target in {
        "out": other,
        "out.mov": other / "reel" / "a.mov",
        "up.mov": Path("../media too/reel/a.mov"),
        "nowhere.mov": other / "none.mov",
        "dangling.mov": Path("none.mov"),
        "in": Path("reel"),
        "back": other / "home",
    }.items():
        (mount / link).symlink_to(target)
    (other / "home").symlink_to(mount / "reel")
    return mount


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("reel/a.mov", PathStatus(PathKind.FILE, 7)),
        ("in/a.mov", PathStatus(PathKind.FILE, 7)),
        ("in", PathStatus(PathKind.DIRECTORY)),
        ("back/a.mov", PathStatus(PathKind.FILE, 7)),
        ("in/none.mov", PathStatus(PathKind.MISSING)),
        ("none/none.mov", PathStatus(PathKind.MISSING)),
        ("dangling.mov", PathStatus(PathKind.MISSING)),
        ("out", OUTSIDE),
        ("out/reel/a.mov", OUTSIDE),
        ("out.mov", OUTSIDE),
        ("up.mov", OUTSIDE),
        ("nowhere.mov", OUTSIDE),
        ("out/none.mov", OUTSIDE),
        ("out/none/none.mov", OUTSIDE),
        ("out.mov/none", OUTSIDE),
        ("", PathStatus(PathKind.DIRECTORY)),
    ],
)
def test_links_are_followed_as_long_as_they_stay_inside(
    mount: Path, path: str, seen: PathStatus, by_name: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_name:
        monkeypatch.setattr(location, "OPEN_DESCRIPTORS", "/nowhere")
    assert PathInspector([str(mount)]).inspect(f"{mount}/{path}".rstrip("/")) == seen


def test_a_link_into_another_filespace_is_outside(mount: Path) -> None:
    other = f"{mount} too"
    sight = PathInspector([str(mount), other])
    assert sight.inspect(f"{mount}/out/reel/a.mov") == OUTSIDE
    assert sight.inspect(f"{other}/reel/a.mov") == PathStatus(PathKind.FILE, 7)


def test_a_mount_point_that_is_a_link_or_becomes_one_is_followed(mount: Path) -> None:
    root = mount.parent / "root"
    root.symlink_to(mount)
    sight = PathInspector([str(root)])
    assert sight.inspect(f"{root}/reel/a.mov") == PathStatus(PathKind.FILE, 7)
    assert sight.inspect(f"{root}/out.mov") == OUTSIDE
    root.unlink()
    root.symlink_to(f"{mount} too")
    assert sight.inspect(f"{root}/reel/a.mov") == PathStatus(PathKind.FILE, 7)


def test_a_link_loop_is_unknown(mount: Path) -> None:
    (mount / "loop").symlink_to("loop")
    assert PathInspector([str(mount)]).inspect(f"{mount}/loop") == PathStatus(PathKind.UNKNOWN)


def test_no_descriptor_stays_open(mount: Path) -> None:
    sight = PathInspector([str(mount)])
    before = os.listdir("/dev/fd")
    for name in ("reel", "reel/a.mov", "none", "out", "out/none"):
        sight.inspect(f"{mount}/{name}")
    assert os.listdir("/dev/fd") == before


def test_a_search_ends_at_the_first_file_and_at_the_limit(
    tmp_path: Path,
) -> None:
    assert content_of(str(tmp_path / "none")) is DirectoryContent.UNKNOWN
    assert content_of(str(tmp_path)) is DirectoryContent.NOTHING
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert content_of(str(tmp_path)) is DirectoryContent.FOLDERS
    (tmp_path / "a" / "b" / "c").symlink_to(tmp_path)
    assert content_of(str(tmp_path)) is DirectoryContent.UNKNOWN
    assert content_of(str(tmp_path), recursive=False) is DirectoryContent.FOLDERS
    for number in range(ENTRIES_SEARCHED):
        (tmp_path / str(number)).mkdir()
    assert content_of(str(tmp_path), recursive=False) is DirectoryContent.UNKNOWN
