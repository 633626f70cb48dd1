"""What is at a path of a mount, and never what a link of the mount leads to outside of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

OPEN_DESCRIPTORS: Final = "/proc/self/fd"
# A folder of so many entries without a file among them is not searched any further.
ENTRIES_SEARCHED: Final = 1000


class Kind(Enum):
    """What a path turned out to be."""

    FILE = auto()
    DIRECTORY = auto()
    MISSING = auto()
    OUTSIDE = auto()
    """A link, or behind a link, that leads out of the filespace, whatever is there."""
    UNKNOWN = auto()
    """The mount did not answer in time, cannot be asked, or is not there at all."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look says: the kind, and a file's size in bytes (else 0)."""

    kind: Kind
    size: int = 0


class Content(Enum):
    """What is in a directory, as far as a search of 1,000 entries tells."""

    NOTHING = auto()
    FOLDERS = auto()
    """No file."""
    UNKNOWN = auto()
    """A file, or more than was searched, or it could not be searched."""


class Sight:
    """Looks at paths below ``mount_points``. Any call may block, just as the mounts do.

    Links are followed as long as they stay in the mount that the path begins with.
    """

    def __init__(self, mount_points: Sequence[str]) -> None:
        # Not realpath: it would touch the mounts, which may hang, from the constructor's thread.
        self._roots = {prefix: prefix for prefix in map(_with_slash, mount_points)}
        has_descriptors = hasattr(os, "O_PATH") and os.path.isdir(OPEN_DESCRIPTORS)
        self._locate = _open_and_locate if has_descriptors else _locate_by_name

    def look(self, path: str) -> Seen:
        """What is there."""
        try:
            location, found = self._locate(path)
        except (FileNotFoundError, NotADirectoryError):
            return self._seen(path, self._locate_missing(path), Seen(Kind.MISSING))
        except OSError:
            return self._seen(path, os.path.realpath(path), Seen(Kind.UNKNOWN))
        except ValueError:
            return Seen(Kind.UNKNOWN)
        if stat.S_ISDIR(found.st_mode):
            return self._seen(path, location, Seen(Kind.DIRECTORY))
        return self._seen(path, location, Seen(Kind.FILE, found.st_size))

    def _seen(self, path: str, location: str, seen: Seen) -> Seen:
        return seen if self._is_inside(path, location) else Seen(Kind.OUTSIDE)

    def _locate_missing(self, path: str) -> str:
        """Where something would be that is not there: what is behind a link tells nothing."""
        parent, _, name = path.rpartition("/")
        try:
            location, _ = self._locate(parent or "/")
        except OSError:
            return os.path.realpath(path)
        if os.path.islink(path):
            return os.path.realpath(path)
        return f"{location.rstrip('/')}/{name}"

    def _is_inside(self, path: str, location: str) -> bool:
        asked, location = _with_slash(path), _with_slash(location)
        for prefix, real in self._roots.items():
            if asked.startswith(prefix):
                if location.startswith(real):
                    return True
                return location.startswith(self._refresh(prefix))
        return True

    def _refresh(self, prefix: str) -> str:
        """Where a mount really is: its folder may be a link itself, or have become one since."""
        real = self._roots[prefix] = _with_slash(os.path.realpath(prefix))
        return real


def content_of(directory: str, recursive: bool = True) -> Content:
    """Search a directory for files, also below it if ``recursive``."""
    folders, searched = [directory], 0
    try:
        for folder in folders:
            with os.scandir(folder) as entries:
                for entry in entries:
                    searched += 1
                    if searched > ENTRIES_SEARCHED or not entry.is_dir(follow_symlinks=False):
                        return Content.UNKNOWN
                    if recursive:
                        folders.append(entry.path)
    except OSError:
        return Content.UNKNOWN
    return Content.FOLDERS if searched else Content.NOTHING


def has_entries(directory: str) -> bool:
    """Whether it is a directory with something in it."""
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


Locate = Callable[[str], tuple[str, os.stat_result]]


def _open_and_locate(path: str) -> tuple[str, os.stat_result]:
    """Where what is at ``path`` really is, and its status. One open, whatever links there are."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return os.readlink(f"{OPEN_DESCRIPTORS}/{descriptor}"), os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _locate_by_name(path: str) -> tuple[str, os.stat_result]:
    found = os.stat(path)
    return os.path.realpath(path), found


def _with_slash(path: str) -> str:
    return path.rstrip("/") + "/"
