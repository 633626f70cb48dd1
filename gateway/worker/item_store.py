"""A worker's statements on leases, items and cached flags."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.database import Database, Session, array_literal
from gateway.database.sql import load_queries
from gateway.job import JobStatus
from gateway.worker.in_flight import ClaimedItem, ItemReport
from gateway.worker.readers.read_task import ReadTask

# More active jobs than these wait until an older one has ended.
MAX_ACTIVE_JOBS = 256
# Items that one statement looks through for those below some prefixes.
ITEMS_PER_WINDOW = 10_000
WHOLE_JOB_SECONDS = 600.0
FLAGS_PER_STATEMENT = 10_000
# Statements on the index wait this long for a lock at most.
LOCK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ItemWindow:
    """The matching items in a stretch of a job's pending items.

    ``last`` is the id of the last item of the stretch; ``is_end``: none comes after it.
    """

    items: Sequence[int]
    last: int
    is_end: bool


class ItemStore:
    """The items in the database, as one worker sees them under its lease.

    Each method raises `DatabaseUnavailable`. Statements on the index wait ``lock_seconds`` for a
    lock, then raise `LockTimeout`.
    """

    def __init__(
        self, database: Database, lease_seconds: float, *, lock_seconds: float = LOCK_SECONDS
    ) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._lock_timeout = f"{lock_seconds * 1000:.0f}"
        self._queries = {**load_queries("worker"), **load_queries("cached_flags")}
        # Sent as one message, and so one transaction.
        in_order = load_queries("planner")["keep_to_the_order"]
        for name in ("claim", "report", "files_with_unset_flags"):
            self._queries[name] = f"{in_order};\n{self._queries[name]}"
        self.worker_id = ""

    @property
    def has_lease(self) -> bool:
        """Whether a lease was taken."""
        return bool(self.worker_id)

    async def take_lease(self) -> None:
        """Take a lease under a worker id that was never used before."""
        worker_id = f"{socket.gethostname()}-{secrets.token_hex(6)}"
        await self._execute("take_lease", worker=worker_id, lease=self._lease_seconds)
        self.worker_id = worker_id

    async def renew_lease(self) -> bool:
        """Extend the lease. False: another worker has ended it and reclaimed the items."""
        return bool(await self._execute("renew_lease", lease=self._lease_seconds))

    async def end_lease(self) -> None:
        """Return everything that is claimed under the lease, and end it."""
        async with self._database.transaction() as session:
            await session.execute(self._queries["lock_own_lease"], {"worker": self.worker_id})
            await self._retire(session, [self.worker_id])

    async def reclaim_expired_leases(self, *, everybody: bool = False) -> int:
        """Reclaim the items of workers whose lease ran out; returns how many.

        ``everybody``: those of all other workers.
        """
        parameters = {"worker": self.worker_id, "everybody": everybody}
        async with self._database.transaction() as session:
            rows = await session.fetch(self._queries["lock_expired_leases"], parameters)
            return await self._retire(session, [row.id for row in rows]) if rows else 0

    async def _retire(self, session: Session, workers: Sequence[str]) -> int:
        parameters = {"workers": workers, "in_flight": "{}"}
        returned = await session.execute(self._queries["reclaim"], parameters)
        await session.execute(self._queries["end_leases"], {"workers": workers})
        return returned

    async def reclaim_orphans(self, in_flight: Sequence[int]) -> int:
        """Reclaim what is claimed under the lease but not ``in_flight``; returns how many.

        Not during a claim.
        """
        return await self._execute(
            "reclaim", workers=[self.worker_id], in_flight=array_literal(in_flight)
        )

    async def active_jobs(self, excluded: Iterable[str] = ()) -> Sequence[str]:
        """The ids of jobs that have something to claim, oldest first, without the excluded."""
        parameters = {"limit": MAX_ACTIVE_JOBS, "excluded": list(excluded)}
        rows = await self._database.fetch(self._queries["active_jobs"], parameters)
        return [row.id for row in rows]

    async def drained_jobs(self, quiet_seconds: float) -> Sequence[str]:
        """The ids of active jobs that have nothing left, neither to claim nor to read.

        A job that may still get items is one of them after ``quiet_seconds`` without a change.
        """
        parameters = {"limit": MAX_ACTIVE_JOBS, "quiet": quiet_seconds}
        rows = await self._database.fetch(self._queries["drained_jobs"], parameters)
        return [row.id for row in rows]

    async def stopped_jobs(self, job_ids: Sequence[str]) -> Sequence[str]:
        """Those of the jobs that were cancelled, ended or deleted."""
        if not job_ids:
            return []
        rows = await self._database.fetch(self._queries["stopped_jobs"], {"jobs": list(job_ids)})
        return [row.id for row in rows]

    async def pending_below(
        self, job_id: str, prefixes: Sequence[str], after: int, limit: int
    ) -> ItemWindow:
        """Up to ``limit`` of a job's next pending items whose paths begin with a prefix."""
        parameters = {
            "job": job_id,
            "prefixes": list(prefixes),
            "after": after,
            "limit": limit,
            "window": ITEMS_PER_WINDOW,
        }
        [row] = await self._database.fetch(self._queries["pending_below"], parameters)
        is_full = len(row.items) == limit
        last = row.items[-1] if is_full else row.last or after
        is_end = not is_full and row.passed < ITEMS_PER_WINDOW
        return ItemWindow(row.items, last, is_end)

    async def claim(
        self, job_id: str, limit: int, among: Sequence[int] | None = None
    ) -> Sequence[ClaimedItem]:
        """Claim up to ``limit`` pending items of a job, of those ``among`` these ids if given.

        A pending job is running from then on.
        """
        worker = self.worker_id
        parameters = {
            "job": job_id,
            "worker": worker,
            "limit": limit,
            "items": None if among is None else array_literal(among),
        }
        async with self._database.session() as session:
            claimed = await session.fetch_one(self._queries["claim"], parameters)
        if worker != self.worker_id or claimed is None or claimed.items is None:
            # The lease under which they were claimed was lost meanwhile, and the items with it.
            return []
        columns = (claimed.items, claimed.paths, claimed.sizes, claimed.reported_bytes)
        return [
            ClaimedItem(ReadTask(item, job_id, path, size), reported_bytes)
            for item, path, size, reported_bytes in zip(*columns, strict=True)
        ]

    async def report(self, job_id: str, reports: Sequence[ItemReport]) -> JobStatus | None:
        """Write how items ended and how far others got, and move the job's counters by that.

        Each item counts exactly once, however often it is reported and by how many workers.
        Returns the job's state, or None if it was cancelled or has ended.
        """
        parameters = {
            "job": job_id,
            "worker": self.worker_id,
            "items": array_literal(r.task.item_id for r in reports),
            "states": array_literal(r.status for r in reports),
            "errors": array_literal(r.error or "" for r in reports),
            "reported_bytes": array_literal(r.reported_bytes for r in reports),
        }
        async with self._database.session() as session:
            row = await session.fetch_one(self._queries["report"], parameters)
        return None if row is None else JobStatus(row.status)

    async def finish_drained_job(self, job_id: str) -> bool:
        """Count a drained job again and end it; False if it is not drained."""
        return bool(await self._execute("finish_drained_job", job=job_id))

    async def set_cached_flags(self, job_id: str, items: Sequence[int]) -> Sequence[int]:
        """Flag the files of items that a job has read; returns the items whose files are locked.

        A file that has changed since is not flagged. Raises `LockTimeout` if the whole table is
        locked.
        """
        return await self._column("set_cached_flags", job=job_id, items=array_literal(items))

    async def files_with_unset_flags(self, job_id: str, after: int) -> Sequence[int]:
        """The next items after an item that a job has read and whose files are not flagged."""
        return await self._column(
            "files_with_unset_flags", job=job_id, after=after, limit=FLAGS_PER_STATEMENT
        )

    async def jobs_with_unset_flags(self, seconds: float) -> Sequence[str]:
        """The ids of jobs that ended at least ``seconds`` ago and still have unset flags."""
        parameters = {"seconds": seconds, "limit": MAX_ACTIVE_JOBS}
        rows = await self._database.fetch(self._queries["jobs_with_unset_flags"], parameters)
        return [row.job_id for row in rows]

    async def postpone_unset_flags(self, job_id: str) -> None:
        """Leave a job whose flags cannot be set now out of `jobs_with_unset_flags` until later."""
        await self._execute("postpone_unset_flags", job=job_id)

    async def clear_unset_flags(self, job_id: str) -> None:
        """Forget a job that has ended: its flags are set, as far as they ever will be."""
        await self._execute("clear_unset_flags", job=job_id)

    async def set_cached_directory_flags(self, job_id: str) -> None:
        """Flag the directories that a job has completed: those with no uncached file below.

        Raises `LockTimeout` if one of them is locked.
        """
        paths = await self._column("parents_of_read_files", job=job_id)
        while paths:
            parents = await self._column("set_cached_directory_flags", job=job_id, paths=paths)
            paths = list({parent for parent in parents if parent})

    async def _column(self, query: str, **parameters: object) -> list[Any]:
        """The first column of a query that may run long, but not wait for locks."""
        async with self._database.transaction(WHOLE_JOB_SECONDS) as session:
            await session.execute(
                self._queries["bound_waits"], {"lock_timeout": self._lock_timeout}
            )
            return [row[0] for row in await session.fetch(self._queries[query], parameters)]

    async def _execute(self, query: str, **parameters: object) -> int:
        async with self._database.session() as session:
            return await session.execute(
                self._queries[query], {"worker": self.worker_id, **parameters}
            )
