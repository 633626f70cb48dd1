"""Walking a folder of the filespace in threads of our own.

One thread reads while the filespace answers at once, the others join in when it does not. The
threads are daemons: a read that hangs in the kernel holds up nobody's exit. Folders are taken
newest first, so that what waits stays about as large as the tree is deep, and what was found but
not yet fetched is bounded: a million entries need no more memory than a hundred thousand.
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
# When nothing has come for so long, in seconds, one more thread reads.
PATIENCE_SECONDS = 0.1


class Scan:
    """One walk through ``root``. Links are followed to files inside ``mount`` and nowhere else.

    Both are absolute, ``mount`` free of links. FIFOs, sockets and devices are passed over. At most
    ``concurrency`` folders are read at once. ``has_digests``: the listings bear them.
    """

    def __init__(
        self, root: str, mount: str, concurrency: int, *, has_digests: bool = False
    ) -> None:
        self._mount = mount
        self._has_digests = has_digests
        self._most_threads = concurrency
        self._concurrency = ScanConcurrency(concurrency)
        self._folders = [root]
        self._at_work = 0
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
        for number in range(self._most_threads):
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
            while not self._is_over():
                if self._may_take_folder():
                    self._at_work += 1
                    return self._folders.pop()
                self._await_turn()
            return None

    def _may_take_folder(self) -> bool:
        return bool(self._folders) and self._at_work < self._concurrency.limit

    def _await_turn(self) -> None:
        before = self._delivered
        if self._folder_waits.wait(PATIENCE_SECONDS):
            return
        # Who waits for room waits for the database.
        has_room = self._backlog <= BACKLOG_ENTRIES
        if self._folders and has_room and self._delivered == before:
            self._concurrency.waited(PATIENCE_SECONDS)

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
            self._call_for_help()

    def _leave_folder(self, taken: _Stopwatch) -> None:
        with self._folder_waits:
            self._concurrency.folder_read(taken.seconds, taken.processor_seconds, self._at_work)
            self._at_work -= 1
            self._call_for_help()
            if self._is_over():
                self._folder_waits.notify_all()
                self._listing_waits.notify_all()

    def _call_for_help(self) -> None:
        """Wake as many threads as may read at once, besides those that do."""
        idle = self._concurrency.limit - max(self._at_work, 1)
        if idle > 0 and self._folders:
            self._folder_waits.notify(min(idle, len(self._folders)))


class _Stopwatch:
    """How long a thread takes, by the clock and of a processor; started when it is made."""

    def __init__(self) -> None:
        self.seconds = self.processor_seconds = 0.0
        self.start()

    def start(self) -> None:
        self._since, self._processor_since = time.monotonic(), time.thread_time()

    def stop(self) -> None:
        self.seconds += time.monotonic() - self._since
        self.processor_seconds += time.thread_time() - self._processor_since
