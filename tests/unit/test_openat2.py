"""Paths without links are opened by openat2; all others are resolved first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gateway.worker.readers import openat2
from gateway.worker.readers.file_source import PosixFiles
from gateway.worker.readers.openat2 import OpenNoSymlinks

pytestmark = pytest.mark.skipif(
    OpenNoSymlinks(os.O_RDONLY).open(os.devnull) is None, reason="this system has no openat2"
)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    media = tmp_path.resolve() / "media"
    (media / "real").mkdir(parents=True)
    (media / "real/a file").write_text("words")
    (media / "other").mkdir()
    (media / "other/a file").write_text("words")
    (media / "linked").symlink_to(media / "real")
    (media / "link").symlink_to(media / "real/a file")
    (media / "outside").symlink_to(tmp_path)
    (tmp_path / "beyond").write_text("words")
    return media


def test_a_path_without_links_is_opened(media: Path) -> None:
    descriptor = OpenNoSymlinks(os.O_RDONLY | os.O_CLOEXEC).open(str(media / "real/a file"))
    assert descriptor is not None
    assert os.pread(descriptor, 9, 0) == b"words"
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


OTHERS = [
    "link",
    "linked/a file",
    "real/../real/a file",
    "missing",
    "real//a file",
    "real/./a file",
    "real/a\0file",
    "real/\udc41\ud800",
]


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_path_is_refused_by_the_call(media: Path, name: str) -> None:
    assert OpenNoSymlinks(os.O_RDONLY).open(f"{media}/{name}") is None


def test_a_forbidden_system_call_is_tried_once(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def refuse(*arguments: object) -> int:
        asked.append(arguments)
        return -1

    monkeypatch.setattr(openat2, "_syscall", lambda: refuse)
    forbidden = OpenNoSymlinks(os.O_RDONLY)
    assert forbidden.open(str(media / "real/a file")) is None
    assert len(asked) == 1


CASES = {
    "real/a file": "read",
    "link": "read",
    "linked/a file": "read",
    "outside/beyond": "Leads out of the filespace",
    "real/../../beyond": "Leads out of the filespace",
    "real": "Is a directory",
    "missing": "No such file or directory",
    "real//a file": "read",
    "real/./a file": "read",
    "other/a file": "Outside the paths that may be cached",
    "linked/../other/a file": "Outside the paths that may be cached",
}


@pytest.mark.parametrize("is_plain", [True, False], ids=["openat2", "open"])
@pytest.mark.parametrize(("name", "ending"), CASES.items(), ids=CASES)
def test_both_ways_open_the_same_files(
    media: Path, monkeypatch: pytest.MonkeyPatch, name: str, ending: str, is_plain: bool
) -> None:
    if not is_plain:
        monkeypatch.setattr(openat2, "_syscall", lambda: None)
    source = PosixFiles(str(media), [str(media / "real")])
    try:
        descriptor, size = source.open(f"{media}/{name}")
    except OSError as error:
        assert error.strerror == ending
    else:
        assert (ending, size) == ("read", 5)
        assert os.get_blocking(descriptor)
        source.close(descriptor)
