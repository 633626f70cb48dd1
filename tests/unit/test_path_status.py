"""What is at a path, through links that stay in the filespace and links that leave it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.mount import location
from gateway.mount.path_status import ENTRIES_SEARCHED, Content, Kind, Seen, Sight, content_of

OUTSIDE = Seen(Kind.OUTSIDE)


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """A mount with links, beside a folder that is none of its."""
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
        ("reel/a.mov", Seen(Kind.FILE, 7)),
        ("in/a.mov", Seen(Kind.FILE, 7)),
        ("in", Seen(Kind.DIRECTORY)),
        ("back/a.mov", Seen(Kind.FILE, 7)),
        ("in/none.mov", Seen(Kind.MISSING)),
        ("none/none.mov", Seen(Kind.MISSING)),
        ("dangling.mov", Seen(Kind.MISSING)),
        ("out", OUTSIDE),
        ("out/reel/a.mov", OUTSIDE),
        ("out.mov", OUTSIDE),
        ("up.mov", OUTSIDE),
        ("nowhere.mov", OUTSIDE),
        ("out/none.mov", OUTSIDE),
        ("out/none/none.mov", OUTSIDE),
        ("out.mov/none", OUTSIDE),
        ("", Seen(Kind.DIRECTORY)),
    ],
)
def test_links_are_followed_as_long_as_they_stay_inside(
    mount: Path, path: str, seen: Seen, by_name: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_name:
        monkeypatch.setattr(location, "OPEN_DESCRIPTORS", "/nowhere")
    assert Sight([str(mount)]).look(f"{mount}/{path}".rstrip("/")) == seen


def test_a_link_into_another_filespace_leads_out_and_that_one_may_be_asked(mount: Path) -> None:
    other = f"{mount} too"
    sight = Sight([str(mount), other])
    assert sight.look(f"{mount}/out/reel/a.mov") == OUTSIDE
    assert sight.look(f"{other}/reel/a.mov") == Seen(Kind.FILE, 7)


def test_a_mount_point_that_is_a_link_or_becomes_one_is_followed(mount: Path) -> None:
    root = mount.parent / "root"
    root.symlink_to(mount)
    sight = Sight([str(root)])
    assert sight.look(f"{root}/reel/a.mov") == Seen(Kind.FILE, 7)
    assert sight.look(f"{root}/out.mov") == OUTSIDE
    root.unlink()
    root.symlink_to(f"{mount} too")
    assert sight.look(f"{root}/reel/a.mov") == Seen(Kind.FILE, 7)


def test_a_link_that_leads_to_itself_is_unknown(mount: Path) -> None:
    (mount / "loop").symlink_to("loop")
    assert Sight([str(mount)]).look(f"{mount}/loop") == Seen(Kind.UNKNOWN)


def test_no_descriptor_stays_open(mount: Path) -> None:
    sight = Sight([str(mount)])
    before = os.listdir("/dev/fd")
    for name in ("reel", "reel/a.mov", "none", "out", "out/none"):
        sight.look(f"{mount}/{name}")
    assert os.listdir("/dev/fd") == before


def test_a_search_for_files_ends_at_the_first_and_at_the_last_entry_it_may_see(
    tmp_path: Path,
) -> None:
    assert content_of(str(tmp_path / "none")) is Content.UNKNOWN
    assert content_of(str(tmp_path)) is Content.NOTHING
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert content_of(str(tmp_path)) is Content.FOLDERS
    (tmp_path / "a" / "b" / "c").symlink_to(tmp_path)
    assert content_of(str(tmp_path)) is Content.UNKNOWN
    assert content_of(str(tmp_path), recursive=False) is Content.FOLDERS
    for number in range(ENTRIES_SEARCHED):
        (tmp_path / str(number)).mkdir()
    assert content_of(str(tmp_path), recursive=False) is Content.UNKNOWN
