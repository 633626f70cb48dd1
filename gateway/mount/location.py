"""Where something of a mount really is, behind its links, and whether a folder holds that."""

from __future__ import annotations

import os
from typing import Final

OPEN_DESCRIPTORS: Final = "/proc/self/fd"


class Folder:
    """A folder and what really lies in it: it may be a link itself, or become one.

    `holds` may block, just as the mount does that the folder is in.
    """

    def __init__(self, path: str) -> None:
        # Not realpath: it would touch the mount, which may hang, from the constructor's thread.
        self._path = path
        self._prefix = self._real = with_slash(path)

    def is_prefix_of(self, path: str) -> bool:
        """Whether ``path`` is written as one in it, or as the folder itself."""
        return with_slash(path).startswith(self._prefix)

    def contains(self, location: str) -> bool:
        """Whether ``location``, free of links, is in it."""
        location = with_slash(location)
        if location.startswith(self._real):
            return True
        self._real = with_slash(os.path.realpath(self._path))
        return location.startswith(self._real)


def knows_descriptors() -> bool:
    """Whether this system tells where an open file is."""
    return os.path.isdir(OPEN_DESCRIPTORS)


def location_of(descriptor: int) -> str:
    """Where an open file really is: it cannot be swapped under us, as its path can."""
    return os.readlink(f"{OPEN_DESCRIPTORS}/{descriptor}")


def with_slash(path: str) -> str:
    """``path`` with one slash at its end: whole names are compared."""
    return path.rstrip("/") + "/"
