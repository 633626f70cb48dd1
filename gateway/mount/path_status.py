"""The status of a path on a mount; links that lead out of the mount reveal nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from gateway.mount.location import Folder, has_descriptor_links, location_of

# The search for a file in a folder ends after this many entries.
ENTRIES_SEARCHED: Final = 1000


class PathKind(Enum):
    """The kind of a path."""

    FILE = auto()
    DIRECTORY = auto()
    MISSING = auto()
    OUTSIDE = auto()
    """A link that leads out of the filespace, or a path behind one."""
    FORBIDDEN = auto()
    """The same, within the filespace but outside the folders that may be cached."""
    UNKNOWN = auto()
    """The mount did not answer in time, failed, or is unavailable."""


@dataclass(frozen=True, slots=True)
class PathStatus:
    """The kind of a path, and a file's size in bytes (else 0)."""

    kind: PathKind
    size: int = 0


class DirectoryContent(Enum):
    """The content of a directory, by a search of up to 1,000 entries."""

    NOTHING = auto()
    FOLDERS = auto()
    """Folders, but no file."""
    UNKNOWN = auto()
    """A file, more entries than were searched, or an error."""


class PathInspector:
    """Inspects paths below ``mount_points``. Any call may block, as the mounts may.

    Links are followed while they stay in the path's mount and in one of the folders ``allowed``, if
    any are given.
    """

    def __init__(self, mount_points: Sequence[str], allowed: Sequence[str] = ()) -> None:
        self._roots = [Folder(it) for it in mount_points]
        self._allowed = [Folder(it) for it in allowed]
        has_descriptors = hasattr(os, "O_PATH") and has_descriptor_links()
        self._locate = _open_and_locate if has_descriptors else _locate_by_name

    def inspect(self, path: str, own_folders: Sequence[Folder] = ()) -> PathStatus:
        """The status of ``path``. ``own_folders`` narrow the allowed folders for one caller."""
        location, status = self._status_of(path)
        if location is None:
            return status
        if not self._is_inside(path, location):
            return PathStatus(PathKind.OUTSIDE)
        is_allowed = _any_contains(self._allowed, location) and _any_contains(own_folders, location)
        return status if is_allowed else PathStatus(PathKind.FORBIDDEN)

    def _status_of(self, path: str) -> tuple[str | None, PathStatus]:
        """The real location, if it can be found, and the status."""
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
        """The real location that a missing path would have."""
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


def _any_contains(folders: Sequence[Folder], location: str) -> bool:
    return not folders or any(it.contains(location) for it in folders)


def content_of(directory: str, recursive: bool = True) -> DirectoryContent:
    """Search a directory for files, with its subdirectories if ``recursive``."""
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
    """Whether it is a non-empty directory."""
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


Locate = Callable[[str], tuple[str, os.stat_result]]


def _open_and_locate(path: str) -> tuple[str, os.stat_result]:
    """The real location and the stat result of ``path``, by a single open that follows links."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return location_of(descriptor), os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _locate_by_name(path: str) -> tuple[str, os.stat_result]:
    found = os.stat(path)
    return os.path.realpath(path), found
