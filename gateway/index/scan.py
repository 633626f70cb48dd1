"""Walks a folder of a filespace in dedicated threads.

One thread reads while the filespace is fast; the others join in when it is slow. The threads are
daemons: a read that hangs in the kernel does not delay the exit of the process. Folders are taken
last in, first out, so the queue stays about as long as the tree is deep. Listings that wait to be
fetched are bounded: a million entries need no more memory than a hundred thousand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from gateway.index.listing import Folder, Listing
from gateway.index.scan_concurrency import ScanConcurrency

BACKLOG_ENTRIES = 50_000
BATCH_ENTRIES = 2_000
BATCH_SECONDS = 0.1
# After this long without a listing, in seconds, one more thread reads.
PATIENCE_SECONDS = 0.1


class Scan:
    """One walk through ``root``. Only links to files inside ``mount`` are followed.

    Both are absolute, ``mount`` without links. FIFOs, sockets and devices are skipped. At most
    ``concurrency`` folders are read at once. ``has_digests``: the listings have digests.
    """

    def __init__(
        self, root: str, mount: str, concurrency: int, *, has_digests: bool = False
    ) -> None:
        self._mount = mount
        self._has_digests = has_digests
        self._max_threads = concurrency
        self._concurrency = ScanConcurrency(concurrency)
        self._folders = [root]
        self._active = 0
        self._delivered = 0
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
        for number in range(self._max_threads):
            threading.Thread(target=self._work, name=f"index-scan-{number}", daemon=True).start()

    def stop(self) -> None:
        """Make the threads and `listings` end soon. Thread-safe and idempotent."""
        with self._folder_waits:
            self._stopped = True
            self._folder_waits.notify_all()
            self._listing_waits.notify_all()
            self._has_room.notify_all()

    def listings(self) -> Iterator[Listing]:
        """Yield the listings in any order, until the scan is complete or stopped."""
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
        # A thread switch for each folder would slow a fast filespace down by a fifth.
        while self._backlog < BATCH_ENTRIES and not self._is_over():
            if not self._listing_waits.wait(BATCH_SECONDS) and self._listings:
                return

    def _is_over(self) -> bool:
        return self._stopped or (not self._folders and not self._active)

    def _work(self) -> None:
        try:
            while (directory := self._take_folder()) is not None:
                self._scan_folder(directory)
        except BaseException as error:  # noqa: BLE001 - raised again where the listings are read
            self._failure = error
            self.stop()

    def _take_folder(self) -> str | None:
        with self._folder_waits:
            while not self._is_over():
                if self._may_take_folder():
                    self._active += 1
                    return self._folders.pop()
                self._wait_for_folder()
            return None

    def _may_take_folder(self) -> bool:
        return bool(self._folders) and self._active < self._concurrency.limit

    def _wait_for_folder(self) -> None:
        before = self._delivered
        if self._folder_waits.wait(PATIENCE_SECONDS):
            return
        # Without room, the threads wait for the database, not for the filespace.
        has_room = self._backlog <= BACKLOG_ENTRIES
        if self._folders and has_room and self._delivered == before:
            self._concurrency.note_wait(PATIENCE_SECONDS)

    def _scan_folder(self, directory: str) -> None:
        folder = Folder(directory, self._mount, has_digest=self._has_digests)
        stopwatch = _Stopwatch()
        for listing in folder.read():
            stopwatch.stop()
            self._deliver(listing, folder.take_folders())
            if self._stopped:
                return
            stopwatch.start()
        self._leave_folder(stopwatch)

    def _deliver(self, listing: Listing, folders: list[str]) -> None:
        with self._has_room:
            while self._backlog > BACKLOG_ENTRIES and not self._stopped:
                self._has_room.wait()
            self._listings.append(listing)
            self._delivered += 1
            self._backlog += listing.weight
            self._folders += folders
            if self._backlog >= BATCH_ENTRIES:
                self._listing_waits.notify()
            self._wake_idle_threads()

    def _leave_folder(self, stopwatch: _Stopwatch) -> None:
        with self._folder_waits:
            self._concurrency.note_folder(
                stopwatch.seconds, stopwatch.processor_seconds, self._active
            )
            self._active -= 1
            self._wake_idle_threads()
            if self._is_over():
                self._folder_waits.notify_all()
                self._listing_waits.notify_all()

    def _wake_idle_threads(self) -> None:
        """Wake idle threads, up to the limit."""
        idle = self._concurrency.limit - max(self._active, 1)
        if idle > 0 and self._folders:
            self._folder_waits.notify(min(idle, len(self._folders)))


class _Stopwatch:
    """Measures a thread's elapsed and processor time; starts when created."""

    def __init__(self) -> None:
        self.seconds = self.processor_seconds = 0.0
        self.start()

    def start(self) -> None:
        self._since, self._processor_since = time.monotonic(), time.thread_time()

    def stop(self) -> None:
        self.seconds += time.monotonic() - self._since
        self.processor_seconds += time.thread_time() - self._processor_since
