"""The real location of a path behind its links, and whether a folder contains it."""

from __future__ import annotations

import os
from typing import Final

OPEN_DESCRIPTORS: Final = "/proc/self/fd"


class Folder:
    """A folder, which may be a link itself or become one.

    `contains` may block, as its mount may.
    """

    def __init__(self, path: str) -> None:
        # Not realpath: it would access the mount, which may hang.
        self._path = path
        self._prefix = self._real = with_slash(path)

    def is_prefix_of(self, path: str) -> bool:
        """Whether ``path`` is the folder or begins with it, as text."""
        return with_slash(path).startswith(self._prefix)

    def contains(self, location: str) -> bool:
        """Whether ``location``, a path without links, is in the folder."""
        location = with_slash(location)
        if location.startswith(self._real):
            return True
        self._real = with_slash(os.path.realpath(self._path))
        return location.startswith(self._real)


def has_descriptor_links() -> bool:
    """Whether this system exposes the location of an open file."""
    return os.path.isdir(OPEN_DESCRIPTORS)


def location_of(descriptor: int) -> str:
    """The real location of an open file: unlike its path, it cannot be replaced meanwhile."""
    return os.readlink(f"{OPEN_DESCRIPTORS}/{descriptor}")


def with_slash(path: str) -> str:
    """``path`` with one trailing slash, to compare whole components."""
    return path.rstrip("/") + "/"
