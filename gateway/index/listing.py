"""Reads one folder of a filespace as a `Listing`, a large folder as several."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.formatting import escaped

# Name, "t" for a directory or "f" for a file (as COPY writes booleans), size in bytes (0 for a
# directory), time of modification in ns, permission bits. A bare tuple: there may be millions.
Entry = tuple[str, str, int, int, int]

# A folder with more entries comes in several listings.
LISTING_ENTRIES = 20_000
DIGEST_BYTES = 16
# PostgreSQL cannot put more than about 2,700 bytes under an index.
PATH_BYTES = 2_600
BYTES_PER_CHARACTER = 4

BROKEN_LINK_ERRORS = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


@dataclass(frozen=True, slots=True)
class IndexProblem:
    """Why a path was skipped. ``path`` is printable: other bytes and characters are escaped."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The entries of a folder, or a part of them.

    ``directories`` is how many of the entries are directories. ``unknown`` are paths that could not
    be read, so nothing is known of them and everything below. ``digest`` is that of the entries, if
    it was requested and these are all readable entries of the folder.
    """

    directory: str
    entries: list[Entry]
    directories: int
    unknown: list[str]
    problems: list[IndexProblem]
    digest: bytes | None = None

    @property
    def weight(self) -> int:
        """Its memory use, measured in entries."""
        return 1 + len(self.entries) + len(self.problems)


def is_inside(path: str, directory: str) -> bool:
    """Whether a normal path is ``directory`` or lies below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def printable(path: str) -> str:
    """Escape what cannot be displayed in a path: invalid UTF-8 and control characters."""
    return escaped(path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def digest_of(directory: str, entries: list[Entry]) -> bytes:
    """A 16-byte digest of a folder's entries; the same as ``digest_known`` in index.sql."""
    lines = "".join(
        [
            f"{name}/{flag}/{size}/{ns // 1_000_000}/{permissions}/"
            for name, flag, size, ns, permissions in sorted(entries)
        ]
    )
    return hashlib.sha256(f"{directory}//{lines}".encode()).digest()[:DIGEST_BYTES]


class Folder:
    """Reads one folder; ``has_digest``: compute the digest of its entries.

    Only links to files inside ``mount`` are followed.
    """

    def __init__(self, path: str, mount: str, *, has_digest: bool = False) -> None:
        self._path = path
        self._mount = mount
        self._has_digest = has_digest
        self._is_split = False
        self._prefix = path + "/"
        self._folders: list[str] = []
        # Names up to this length fit in any encoding; longer ones are measured.
        self._short = PATH_BYTES // BYTES_PER_CHARACTER - len(self._prefix)
        self._clear()

    def read(self) -> Iterator[Listing]:
        """Yield the entries; the last listing may be empty. Unreadable ones become problems."""
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    self._add(entry)
                    if len(self._entries) + len(self._problems) >= LISTING_ENTRIES:
                        self._is_split = True
                        yield self._take()
        except OSError as error:
            self._add_unknown(self._path, error)
        yield self._take()

    def take_folders(self) -> list[str]:
        """Return the subfolders found since the last call."""
        folders, self._folders = self._folders, []
        return folders

    def _clear(self) -> None:
        self._entries: list[Entry] = []
        self._directories = 0
        self._unknown: list[str] = []
        self._problems: list[IndexProblem] = []

    def _take(self) -> Listing:
        listing = Listing(
            self._path,
            self._entries,
            self._directories,
            self._unknown,
            self._problems,
            self._digest(),
        )
        self._clear()
        return listing

    def _digest(self) -> bytes | None:
        if not self._has_digest or self._is_split or not self._entries:
            return None
        return digest_of(self._path, self._entries)

    def _add(self, entry: os.DirEntry[str]) -> None:
        name = entry.name
        if not (name.isascii() and len(name) <= self._short) and not self._can_be_stored(name):
            return
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            self._add_unknown(self._prefix + name, error)
            return
        mode = status.st_mode
        if stat.S_ISREG(mode):
            self._entries.append((name, "f", status.st_size, status.st_mtime_ns, mode & 0o7777))
        elif stat.S_ISDIR(mode):
            self._entries.append((name, "t", 0, status.st_mtime_ns, mode & 0o7777))
            self._directories += 1
            self._folders.append(self._prefix + name)
        elif stat.S_ISLNK(mode):
            self._add_link(name)

    def _add_link(self, name: str) -> None:
        path = self._prefix + name
        try:
            target = os.path.realpath(path, strict=True)
            mode = (status := os.stat(target)).st_mode
        except OSError as error:
            self._report_broken_link(path, error)
            return
        if not is_inside(target, self._mount):
            self._report(path, "the link leads out of the filespace")
        elif stat.S_ISREG(mode):
            self._entries.append((name, "f", status.st_size, status.st_mtime_ns, mode & 0o7777))

    def _report_broken_link(self, path: str, error: OSError) -> None:
        if error.errno in BROKEN_LINK_ERRORS:
            self._report(path, "the link leads nowhere")
        else:
            self._add_unknown(path, error)

    def _can_be_stored(self, name: str) -> bool:
        path = self._prefix + name
        try:
            if len(path.encode()) <= PATH_BYTES:
                return True
            self._report(path, "the path is too long")
        except UnicodeEncodeError:
            self._report(path, "the name is not UTF-8")
        return False

    def _add_unknown(self, path: str, error: OSError) -> None:
        self._unknown.append(path)
        self._report(path, error.strerror or "cannot be read")

    def _report(self, path: str, reason: str) -> None:
        self._problems.append(IndexProblem(printable(path), reason))
