"""What is at a path of a mount, and never what a link of the mount leads to outside of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from gateway.mount.location import Folder, knows_descriptors, location_of

# A folder of so many entries without a file among them is not searched any further.
ENTRIES_SEARCHED: Final = 1000


class PathKind(Enum):
    """What a path turned out to be."""

    FILE = auto()
    DIRECTORY = auto()
    MISSING = auto()
    OUTSIDE = auto()
    """A link, or behind a link, that leads out of the filespace, whatever is there."""
    FORBIDDEN = auto()
    """The same, within the filespace but out of the folders that may be cached."""
    UNKNOWN = auto()
    """The mount did not answer in time, cannot be asked, or is not there at all."""


@dataclass(frozen=True, slots=True)
class PathStatus:
    """What a look says: the kind, and a file's size in bytes (else 0)."""

    kind: PathKind
    size: int = 0


class DirectoryContent(Enum):
    """What is in a directory, as far as a search of 1,000 entries tells."""

    NOTHING = auto()
    FOLDERS = auto()
    """No file."""
    UNKNOWN = auto()
    """A file, or more than was searched, or it could not be searched."""


class PathInspector:
    """Looks at paths below ``mount_points``. Any call may block, just as the mounts do.

    Links are followed as long as they stay in the mount that the path begins with, and in one of
    the folders ``allowed``, if any are given.
    """

    def __init__(self, mount_points: Sequence[str], allowed: Sequence[str] = ()) -> None:
        self._roots = [Folder(it) for it in mount_points]
        self._allowed = [Folder(it) for it in allowed]
        has_descriptors = hasattr(os, "O_PATH") and knows_descriptors()
        self._locate = _open_and_locate if has_descriptors else _locate_by_name

    def inspect(self, path: str, own: Sequence[Folder] = ()) -> PathStatus:
        """What is there. ``own``: the caller's folders, which narrow those that are allowed."""
        location, seen = self._see(path)
        if location is None:
            return seen
        if not self._is_inside(path, location):
            return PathStatus(PathKind.OUTSIDE)
        is_allowed = _any_holds(self._allowed, location) and _any_holds(own, location)
        return seen if is_allowed else PathStatus(PathKind.FORBIDDEN)

    def _see(self, path: str) -> tuple[str | None, PathStatus]:
        """Where it really is, as far as that can be told, and what it is."""
        try:
            location, found = self._locate(path)
        except (FileNotFoundError, NotADirectoryError):
            return self._locate_missing(path), PathStatus(PathKind.MISSING)
        except OSError:
            return os.path.realpath(path), PathStatus(PathKind.UNKNOWN)
        except ValueError:
            return None, PathStatus(PathKind.UNKNOWN)
        if stat.S_ISDIR(found.st_mode):
            return location, PathStatus(PathKind.DIRECTORY)
        return location, PathStatus(PathKind.FILE, found.st_size)

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
        root = next((it for it in self._roots if it.is_prefix_of(path)), None)
        return root is None or root.contains(location)


def _any_holds(folders: Sequence[Folder], location: str) -> bool:
    return not folders or any(it.contains(location) for it in folders)


def content_of(directory: str, recursive: bool = True) -> DirectoryContent:
    """Search a directory for files, also below it if ``recursive``."""
    folders, searched = [directory], 0
    try:
        for folder in folders:
            with os.scandir(folder) as entries:
                for entry in entries:
                    searched += 1
                    if searched > ENTRIES_SEARCHED or not entry.is_dir(follow_symlinks=False):
                        return DirectoryContent.UNKNOWN
                    if recursive:
                        folders.append(entry.path)
    except OSError:
        return DirectoryContent.UNKNOWN
    return DirectoryContent.FOLDERS if searched else DirectoryContent.NOTHING


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
        return location_of(descriptor), os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _locate_by_name(path: str) -> tuple[str, os.stat_result]:
    found = os.stat(path)
    return os.path.realpath(path), found
