"""Updates the rows below one folder in one transaction, writing only differences.

First PostgreSQL computes one digest for each folder that it has. A listing with a known digest is
unchanged; the others are copied to a temporary table and compared there, row by row, at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from gateway.database import translated_errors
from gateway.database.sql import load_queries
from gateway.errors import IndexWouldEmpty, LockTimeout
from gateway.index.listing import LISTING_ENTRIES, Entry, Listing, printable

BATCH_BYTES = 1 << 20
READ_BYTES = 1 << 16
# The years 1 to 9999: PostgreSQL could store more, but Python could not read them.
FIRST_NS = -62_135_596_800 * 10**9
LAST_NS = 253_402_300_799 * 10**9

# Losing more than this many rows, and more than half of them, looks like an accident.
FEW_ROWS = 1_000
LOCK_SECONDS = 0.1
WRITE_ATTEMPTS = 600
# Autovacuum analyzes minutes later; until then plans would have no statistics.
ANALYZE_FROM_ROWS = 10_000

COPY_SPECIALS = re.compile(r"[\\\t\n\r]")
COPY_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


@dataclass(frozen=True, slots=True)
class Changes:
    """How many rows were written."""

    added: int
    changed: int
    removed: int


class IndexTable:
    """The rows of ``root`` and below it, during one run over a blocking connection.

    ``pause`` waits the given seconds, and raises to end the run. Until `apply` commits, the table
    `files` is only read.
    """

    def __init__(self, connection: Any, root: str, pause: Callable[[float], None]) -> None:
        self._connection = connection
        self._root = root
        self._pause = pause
        self._queries = load_queries("index")
        self._bounds = {"first": root + "/", "end": root + "0", "crowd": LISTING_ENTRIES}
        self._digests: set[bytes] = set()
        self._seen = _Batch(connection, self._queries["copy_seen"])
        self._unknown = _Batch(connection, self._queries["copy_unknown"])
        self._stale = _Batch(connection, self._queries["copy_stale"])

    def lock(self) -> None:
        """Wait for other indexers, and lock them out until the connection ends.

        It polls: a waiting statement would block every CREATE INDEX CONCURRENTLY.
        """
        self._execute("prepare_session")
        while not self._fetch_value("try_lock"):
            self._connection.commit()
            self._pause(LOCK_SECONDS)
        self._connection.commit()

    def unlock(self) -> None:
        """Unlock for the next indexer: the server may notice a closed connection late."""
        self._execute("unlock")

    def knows_any(self) -> bool:
        """Whether there are rows below the root, so that digests are useful."""
        known = bool(self._fetch_value("knows_any", self._bounds))
        self._connection.commit()
        return known

    def load(self) -> None:
        """Read the 16-byte digests of the folders below the root."""
        self._execute("create_tables")
        self._execute("digest_known", self._bounds)
        with self._connection.cursor() as cursor:
            cursor.execute(self._queries["known_digests"])
            self._digests = {bytes(digest) for (digest,) in cursor}
        self._connection.commit()

    def add_root(self, entry: Entry) -> None:
        """Add the root's own row; ``entry`` has its name."""
        parent = self._root.rpartition("/")[0] or "/"
        escaped = [text.translate(COPY_ESCAPES) for text in (self._root, entry[0], parent)]
        self._seen.add("\t".join([*escaped, *_columns(entry)]) + "\n")

    def add(self, listing: Listing) -> None:
        """Add a folder's entries, unless its digest is known."""
        for path in listing.unknown:
            self._unknown.add(path.translate(COPY_ESCAPES) + "\n")
        if listing.entries and not self._is_known(listing):
            self._seen.add(_copy_text(listing))

    def apply(self, *, found_nothing: bool, allow_empty: bool) -> Changes:
        """Write the differences. Raises `IndexRefused` if too many rows would be removed."""
        self._finish_copies()
        for _ in range(WRITE_ATTEMPTS):
            try:
                with translated_errors():
                    return self._write(found_nothing, allow_empty)
            except LockTimeout:
                self._connection.rollback()
                self._pause(LOCK_SECONDS)
        raise LockTimeout("Rows of the index stayed locked by another program, try again later")

    def _is_known(self, listing: Listing) -> bool:
        digest = listing.digest
        if digest is None or digest not in self._digests:
            return False
        self._digests.remove(digest)
        return True

    def _finish_copies(self) -> None:
        for digest in self._digests:
            self._stale.add(rf"\\x{digest.hex()}" + "\n")
        for batch in (self._seen, self._unknown, self._stale):
            self._pause(0)
            batch.flush()

    def _write(self, found_nothing: bool, allow_empty: bool) -> Changes:
        self._execute("find_changed")
        self._execute("find_vanished", self._bounds)
        if self._unknown.used:
            self._execute("spare_unknown")
        if not allow_empty:
            self._refuse_emptying(found_nothing)
        self._pause(0)
        self._execute("lock_rows")
        self._execute("bound_waits")
        changes = Changes(
            changed=self._execute("update_changed"),
            removed=self._execute("delete_vanished"),
            added=self._execute("insert_new"),
        )
        if (changes.added or changes.changed) and self._fetch_value("count_known"):
            self._execute("uncache_directories")
        self._pause(0)
        self._connection.commit()
        if changes.added >= ANALYZE_FROM_ROWS:
            self._execute("analyze")
        return changes

    def _refuse_emptying(self, found_nothing: bool) -> None:
        known = self._fetch_value("count_known")
        vanished = self._fetch_value("count_vanished")
        if (found_nothing and known) or (vanished > FEW_ROWS and vanished * 2 > known):
            raise IndexWouldEmpty(
                f"{vanished:,} of the {known:,} indexed entries below {printable(self._root)} would"
                " vanish, as if the filespace were not mounted, so nothing was changed;"
                " if they are really gone, index again with --allow-empty"
            )

    def _execute(self, name: str, parameters: dict[str, Any] | None = None) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(self._queries[name], parameters)
            return int(cursor.rowcount)

    def _fetch_value(self, name: str, parameters: dict[str, Any] | None = None) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(self._queries[name], parameters)
            return cursor.fetchone()[0]


class _Batch:
    """Collects lines for COPY and sends them by the megabyte, each in its own transaction.

    A transaction as long as a slow scan would hold back VACUUM in the whole database.
    """

    def __init__(self, connection: Any, copy: str) -> None:
        self._connection = connection
        self._copy = copy
        self._parts: list[bytes] = []
        self._bytes = 0
        self.used = False

    def add(self, text: str) -> None:
        part = text.encode()
        self._parts.append(part)
        self._bytes += len(part)
        self.used = True
        if self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._parts:
            return
        with self._connection.cursor() as cursor:
            cursor.copy_expert(self._copy, BytesIO(b"".join(self._parts)), READ_BYTES)
        self._connection.commit()
        self._parts.clear()
        self._bytes = 0


def _copy_text(listing: Listing) -> str:
    """The lines for COPY, built in one pass: a first index does this for every entry."""
    parent = listing.directory.translate(COPY_ESCAPES)
    entries = listing.entries
    if COPY_SPECIALS.search("".join([entry[0] for entry in entries])):
        entries = [(entry[0].translate(COPY_ESCAPES), *entry[1:]) for entry in entries]
    return "".join(
        [
            f"{parent}/{name}\t{name}\t{parent}\t{flag}\t{size}"
            f"\t{ns // 1000 if FIRST_NS < ns < LAST_NS else _bounded_us(ns)}\t{permissions}\n"
            for name, flag, size, ns, permissions in entries
        ]
    )


def _columns(entry: Entry) -> list[str]:
    _name, flag, size, ns, permissions = entry
    return [flag, str(size), str(_bounded_us(ns)), str(permissions)]


def _bounded_us(ns: int) -> int:
    return min(max(ns, FIRST_NS), LAST_NS) // 1000
