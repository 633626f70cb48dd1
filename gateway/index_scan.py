"""Walking a folder of the filespace in threads of our own, one `Listing` per folder.

The threads are daemons: a read that hangs in the kernel holds up nobody's exit. Folders are taken
newest first, so that what waits stays about as large as the tree is deep, and what was found but
not yet fetched is bounded: a million entries need no more memory than a hundred thousand.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.escaping import escaped

# Name, "t" for a directory or "f" for a file (as COPY writes booleans), size in bytes (0 for a
# directory), time of modification in ns, permission bits. A bare tuple: there may be millions.
Entry = tuple[str, str, int, int, int]

# A folder with more entries comes in several listings.
LISTING_ENTRIES = 20_000
BACKLOG_ENTRIES = 50_000
BATCH_ENTRIES = 2_000
BATCH_SECONDS = 0.1
# PostgreSQL cannot put more than about 2,700 bytes under an index.
PATH_BYTES = 2_600
BYTES_PER_CHARACTER = 4

LEADS_NOWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


@dataclass(frozen=True, slots=True)
class IndexProblem:
    """Why something was left out. ``path`` is printable: odd bytes and controls are escaped."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds, or a part of it.

    ``directories`` of the entries are directories. ``unknown`` are paths of which, together with
    everything below them, nothing could be learnt.
    """

    directory: str
    entries: list[Entry]
    directories: int
    unknown: list[str]
    problems: list[IndexProblem]

    @property
    def weight(self) -> int:
        """How much memory it takes, in entries."""
        return 1 + len(self.entries) + len(self.problems)


def is_inside(path: str, directory: str) -> bool:
    """Whether a normal path is ``directory`` or lies below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def printable(path: str) -> str:
    """Escape in a path what cannot be shown: bytes that are no UTF-8, control characters."""
    return escaped(path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


class Scan:
    """One walk through ``root``. Links are followed to files inside ``mount`` and nowhere else.

    Both are absolute, ``mount`` free of links. FIFOs, sockets and devices are passed over.
    """

    def __init__(self, root: str, mount: str, concurrency: int) -> None:
        self._mount = mount
        self._concurrency = concurrency
        self._folders = [root]
        self._at_work = 0
        self._listings: list[Listing] = []
        self._backlog = 0
        self._stopped = False
        self._failure: BaseException | None = None
        lock = threading.Lock()
        self._folder_waits = threading.Condition(lock)
        self._listing_waits = threading.Condition(lock)
        self._has_room = threading.Condition(lock)

    def start(self) -> None:
        """Start the threads."""
        for number in range(self._concurrency):
            threading.Thread(target=self._work, name=f"index-scan-{number}", daemon=True).start()

    def stop(self) -> None:
        """Make the threads and `listings` end soon. May be called from any thread, repeatedly."""
        with self._folder_waits:
            self._stopped = True
            self._folder_waits.notify_all()
            self._listing_waits.notify_all()
            self._has_room.notify_all()

    def listings(self) -> Iterator[Listing]:
        """Yield what is found, in no order, until all is found or the scan is stopped."""
        while batch := self._next_batch():
            yield from batch

    def _next_batch(self) -> list[Listing]:
        with self._listing_waits:
            self._await_listings()
            if self._failure is not None:
                raise self._failure
            batch = [] if self._stopped else self._listings
            self._listings = []
            self._backlog = 0
            self._has_room.notify_all()
            return batch

    def _await_listings(self) -> None:
        # Switching threads for each folder costs a fast filespace a fifth of its speed.
        while self._backlog < BATCH_ENTRIES and not self._is_over():
            if not self._listing_waits.wait(BATCH_SECONDS) and self._listings:
                return

    def _is_over(self) -> bool:
        return self._stopped or (not self._folders and not self._at_work)

    def _work(self) -> None:
        try:
            while (directory := self._take_folder()) is not None:
                self._scan_folder(directory)
        except BaseException as error:  # noqa: BLE001 - raised again where the listings are read
            self._failure = error
            self.stop()

    def _take_folder(self) -> str | None:
        with self._folder_waits:
            while not self._folders and not self._is_over():
                self._folder_waits.wait()
            if self._is_over():
                return None
            self._at_work += 1
            return self._folders.pop()

    def _scan_folder(self, directory: str) -> None:
        folder = _Folder(directory, self._mount)
        for listing in folder.read():
            self._deliver(listing, folder.take_folders())
            if self._stopped:
                return
        self._leave_folder()

    def _deliver(self, listing: Listing, folders: list[str]) -> None:
        with self._has_room:
            while self._backlog > BACKLOG_ENTRIES and not self._stopped:
                self._has_room.wait()
            self._listings.append(listing)
            self._backlog += listing.weight
            self._folders += folders
            if self._backlog >= BATCH_ENTRIES:
                self._listing_waits.notify()
            self._folder_waits.notify(len(folders))

    def _leave_folder(self) -> None:
        with self._folder_waits:
            self._at_work -= 1
            if self._is_over():
                self._folder_waits.notify_all()
                self._listing_waits.notify_all()


class _Folder:
    """One folder while it is read."""

    def __init__(self, path: str, mount: str) -> None:
        self._path = path
        self._mount = mount
        self._prefix = path + "/"
        self._folders: list[str] = []
        # Names up to this length fit whatever they are made of; longer ones are measured.
        self._short = PATH_BYTES // BYTES_PER_CHARACTER - len(self._prefix)
        self._clear()

    def read(self) -> Iterator[Listing]:
        try:
            with os.scandir(self._path) as found:
                for entry in found:
                    self._add(entry)
                    if len(self._entries) + len(self._problems) >= LISTING_ENTRIES:
                        yield self._take()
        except OSError as error:
            self._leave_unknown(self._path, error)
        yield self._take()

    def take_folders(self) -> list[str]:
        """The folders in this one that were found since the last call."""
        folders, self._folders = self._folders, []
        return folders

    def _clear(self) -> None:
        self._entries: list[Entry] = []
        self._directories = 0
        self._unknown: list[str] = []
        self._problems: list[IndexProblem] = []

    def _take(self) -> Listing:
        listing = Listing(
            self._path, self._entries, self._directories, self._unknown, self._problems
        )
        self._clear()
        return listing

    def _add(self, entry: os.DirEntry[str]) -> None:
        name = entry.name
        if not (name.isascii() and len(name) <= self._short) and not self._can_be_stored(name):
            return
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            self._leave_unknown(self._prefix + name, error)
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
        if error.errno in LEADS_NOWHERE:
            self._report(path, "the link leads nowhere")
        else:
            self._leave_unknown(path, error)

    def _can_be_stored(self, name: str) -> bool:
        path = self._prefix + name
        try:
            if len(path.encode()) <= PATH_BYTES:
                return True
            self._report(path, "the path is too long")
        except UnicodeEncodeError:
            self._report(path, "the name is not UTF-8")
        return False

    def _leave_unknown(self, path: str, error: OSError) -> None:
        self._unknown.append(path)
        self._report(path, error.strerror or "cannot be read")

    def _report(self, path: str, reason: str) -> None:
        self._problems.append(IndexProblem(printable(path), reason))
