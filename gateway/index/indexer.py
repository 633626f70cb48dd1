"""Syncs a folder of a filespace into the table `files`, in one transaction."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from gateway.database import blocking_connection
from gateway.errors import IndexRefused
from gateway.index.listing import Entry, IndexProblem, Listing, is_inside, printable
from gateway.index.scan import Scan
from gateway.index.table import Changes, IndexTable
from gateway.settings import Settings

__all__ = ["IndexProblem", "IndexProgress", "IndexResult", "Indexer"]

T = TypeVar("T")

REPORTED_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class IndexResult:
    """The result of a run.

    ``files``, ``directories`` (the folder itself included) and ``bytes`` count what was scanned;
    ``added``, ``changed`` and ``removed`` count rows. ``problems`` holds the first 100 of
    ``problem_count``.
    """

    files: int
    directories: int
    bytes: int
    added: int
    changed: int
    removed: int
    problems: tuple[IndexProblem, ...]
    problem_count: int
    seconds: float


@dataclass(slots=True)
class IndexProgress:
    """The progress of a run; written by its thread, readable from any thread.

    ``entries`` counts those scanned so far. The phase ``waiting`` is for another indexer.
    """

    entries: int = 0
    phase: Literal["waiting", "scanning", "writing", "done"] = "waiting"


class Indexer:
    """Indexes folders of the filespaces, one run at a time across all processes.

    At most ``concurrency`` folders are scanned at once, by default ``settings.index_concurrency``.
    """

    def __init__(self, settings: Settings, *, concurrency: int | None = None) -> None:
        self._settings = settings
        self._concurrency = concurrency or settings.index_concurrency

    async def index(
        self, directory: str, *, allow_empty: bool = False, progress: IndexProgress | None = None
    ) -> IndexResult:
        """Make the rows of ``directory`` and below match the mount.

        ``directory`` is a mount point or an absolute path below one. Raises `DatabaseUnavailable`,
        and `IndexRefused` if the path is none of these, is no readable directory, or would lose so
        many rows that it looks unmounted (``allow_empty`` permits that). All changes are committed
        at once at the end; an error or a cancellation changes nothing.
        """
        root, mount = _checked_root(directory, self._settings.mount_points)
        run = _Run(
            self._settings, root, mount, self._concurrency, allow_empty, progress or IndexProgress()
        )
        try:
            return await _in_daemon_thread(run.execute)
        finally:
            run.stop()


class _Stopped(Exception):
    """The run was cancelled."""


@dataclass(slots=True)
class _Totals:
    files: int = 0
    directories: int = 1
    bytes: int = 0
    problems: list[IndexProblem] = field(default_factory=list)
    problem_count: int = 0

    @property
    def found_nothing(self) -> bool:
        return self.files + self.directories == 1

    def add(self, listing: Listing) -> None:
        self.directories += listing.directories
        self.files += len(listing.entries) - listing.directories
        self.bytes += sum([entry[2] for entry in listing.entries])
        self.problem_count += len(listing.problems)
        self.problems += listing.problems[: REPORTED_PROBLEMS - len(self.problems)]

    def result(self, changes: Changes, seconds: float) -> IndexResult:
        return IndexResult(
            files=self.files,
            directories=self.directories,
            bytes=self.bytes,
            added=changes.added,
            changed=changes.changed,
            removed=changes.removed,
            problems=tuple(self.problems),
            problem_count=self.problem_count,
            seconds=seconds,
        )


class _Run:
    """One indexing of one folder, in a thread."""

    def __init__(
        self,
        settings: Settings,
        root: str,
        mount: str,
        concurrency: int,
        allow_empty: bool,
        progress: IndexProgress,
    ) -> None:
        self._settings = settings
        self._root = root
        self._mount = mount
        self._concurrency = concurrency
        self._allow_empty = allow_empty
        self._progress = progress
        self._stop = threading.Event()
        self._scan: Scan | None = None

    def stop(self) -> None:
        """End the run soon. Without effect once it has ended."""
        self._stop.set()
        if self._scan is not None:
            self._scan.stop()

    def execute(self) -> IndexResult:
        started = time.monotonic()
        mount = self._checked_mount()
        _read_root(self._root)
        with blocking_connection(self._settings) as connection:
            table = IndexTable(connection, self._root, self._pause)
            table.lock()
            totals = self._fill(table, mount)
            self._progress.phase = "writing"
            changes = table.apply(found_nothing=totals.found_nothing, allow_empty=self._allow_empty)
            table.unlock()
        self._progress.phase = "done"
        return totals.result(changes, time.monotonic() - started)

    def _checked_mount(self) -> str:
        mount = os.path.realpath(self._mount)
        if not is_inside(os.path.realpath(self._root), mount):
            raise IndexRefused(f"{printable(self._root)} leads out of the filespace")
        return mount

    def _fill(self, table: IndexTable, mount: str) -> _Totals:
        self._progress.phase = "scanning"
        scan = self._scan = Scan(
            self._root, mount, self._concurrency, has_digests=table.knows_any()
        )
        try:
            self._pause(0)
            table.add_root(_read_root(self._root))
            # The folders are scanned while PostgreSQL computes its digests.
            scan.start()
            table.load()
            return self._read_listings(scan, table)
        finally:
            scan.stop()

    def _read_listings(self, scan: Scan, table: IndexTable) -> _Totals:
        totals = _Totals()
        self._progress.entries = 1
        for listing in scan.listings():
            self._pause(0)
            table.add(listing)
            totals.add(listing)
            self._progress.entries += len(listing.entries)
        self._pause(0)
        return totals

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds) if seconds else self._stop.is_set():
            raise _Stopped


def _checked_root(directory: str, mounts: Sequence[str]) -> tuple[str, str]:
    """The normalized directory, and the mount point of its filespace."""
    root = "/" + os.path.normpath(directory).lstrip("/")
    mount = next((mount for mount in mounts if is_inside(root, mount)), None)
    if mount is None or not os.path.isabs(directory) or "\0" in directory:
        raise IndexRefused(
            f"{printable(directory)} is neither {_describe_mounts(mounts)} nor below it"
        )
    try:
        root.encode()
    except UnicodeEncodeError:
        raise IndexRefused(f"{printable(root)} is not UTF-8 and cannot be indexed") from None
    return root, mount


def _describe_mounts(mounts: Sequence[str]) -> str:
    names = ", ".join(map(printable, mounts))
    return f"the filespace {names}" if len(mounts) == 1 else f"one of the filespaces {names}"


def _read_root(root: str) -> Entry:
    """The root's own entry. Raises `IndexRefused` if it cannot be listed."""
    try:
        with os.scandir(root):
            status = os.stat(root)
    except NotADirectoryError:
        raise IndexRefused(f"{printable(root)} is not a directory") from None
    except FileNotFoundError:
        raise IndexRefused(f"{printable(root)} does not exist") from None
    except OSError as error:
        raise IndexRefused(f"{printable(root)} cannot be read: {error.strerror}") from None
    name = root.rpartition("/")[2]
    return name, "t", 0, status.st_mtime_ns, stat.S_IMODE(status.st_mode)


def _in_daemon_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run ``work`` in a daemon thread: an executor's thread would delay the exit of the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(setter: Callable[[Any], None], outcome: object) -> None:
        if not future.done():
            setter(outcome)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], object] = (future.set_result, work())
        except BaseException as error:  # noqa: BLE001 - raised again where the future is awaited
            outcome = (future.set_exception, error)
        # The loop may be closed, so that nothing awaits the result.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(deliver, *outcome)

    threading.Thread(target=run, name="indexer", daemon=True).start()
    return future
