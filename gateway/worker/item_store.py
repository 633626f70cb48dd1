"""Verbs on a job's items, as a worker needs them: lease, claim, report, give back."""

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

# Active jobs beyond so many wait until an older one has ended.
MAX_ACTIVE_JOBS = 256
# Where only some of a job's items are wanted, so many are looked at in a statement.
ITEMS_PASSED = 10_000
WHOLE_JOB_SECONDS = 600.0
FLAGS_PER_STATEMENT = 10_000
# A job with fewer items than files is ended once nothing has happened to it for so long.
QUIET_SECONDS = 600.0
# What nobody has followed up for so long after a job's end has been overlooked.
OVERLOOKED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Passage:
    """Some items of a job in their order: those that were wanted, and how far that was.

    ``last`` is the id of the last that was passed; ``is_end``: none came after it.
    """

    items: Sequence[int]
    last: int
    is_end: bool


class ItemStore:
    """The items in the database, seen by one worker under its lease."""

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._queries = {**load_queries("worker"), **load_queries("cached_flags")}
        # One message, and so one transaction.
        in_order = load_queries("planner")["keep_to_the_order"]
        for name in ("claim", "report", "files_with_unset_flags"):
            self._queries[name] = f"{in_order};\n{self._queries[name]}"
        self.worker_id = ""

    @property
    def has_lease(self) -> bool:
        """Whether we are a worker."""
        return bool(self.worker_id)

    async def take_lease(self) -> None:
        """Become a worker, under an id that was never used before."""
        worker_id = f"{socket.gethostname()}-{secrets.token_hex(6)}"
        await self._execute("take_lease", worker=worker_id, lease=self._lease_seconds)
        self.worker_id = worker_id

    async def renew_lease(self) -> bool:
        """Go on being that worker. False: others gave it up for dead, its items are theirs."""
        return bool(await self._execute("renew_lease", lease=self._lease_seconds))

    async def end_lease(self) -> None:
        """Stop being a worker: whatever is claimed in our name goes back."""
        async with self._database.transaction() as session:
            await session.execute(self._queries["lock_own_lease"], {"worker": self.worker_id})
            await self._retire(session, [self.worker_id])

    async def reclaim_expired_leases(self, *, everybody: bool = False) -> int:
        """Return the items of workers whose lease ran out; ``everybody``: of all workers but us."""
        parameters = {"worker": self.worker_id, "everybody": everybody}
        async with self._database.transaction() as session:
            rows = await session.fetch(self._queries["lock_expired_leases"], parameters)
            return await self._retire(session, [row.id for row in rows]) if rows else 0

    async def _retire(self, session: Session, workers: Sequence[str]) -> int:
        everything = {"workers": workers, "known": "{}"}
        returned = await session.execute(self._queries["give_back"], everything)
        await session.execute(self._queries["end_leases"], {"workers": workers})
        return returned

    async def reclaim_orphans(self, known: Sequence[int]) -> int:
        """Return what is claimed in our name but is not among ``known``; not during a claim."""
        return await self._execute(
            "give_back", workers=[self.worker_id], known=array_literal(known)
        )

    async def active_jobs(self, besides: Iterable[str] = ()) -> Sequence[str]:
        """The ids of jobs that have something to claim, oldest first, but for some."""
        parameters = {"limit": MAX_ACTIVE_JOBS, "besides": list(besides)}
        rows = await self._database.fetch(self._queries["active_jobs"], parameters)
        return [row.id for row in rows]

    async def drained_jobs(self) -> Sequence[str]:
        """The ids of jobs that are to run and have nothing left, neither to claim nor to read.

        A job that is still being filled is none of them.
        """
        parameters = {"limit": MAX_ACTIVE_JOBS, "quiet": QUIET_SECONDS}
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
    ) -> Passage:
        """Up to ``limit`` of a job's next pending items, those whose paths begin with a prefix."""
        parameters = {
            "job": job_id,
            "prefixes": list(prefixes),
            "after": after,
            "limit": limit,
            "window": ITEMS_PASSED,
        }
        [row] = await self._database.fetch(self._queries["pending_below"], parameters)
        is_full = len(row.items) == limit
        last = row.items[-1] if is_full else row.last or after
        return Passage(row.items, last, is_end=not is_full and row.passed < ITEMS_PASSED)

    async def claim(
        self, job_id: str, limit: int, among: Sequence[int] | None = None
    ) -> Sequence[ClaimedItem]:
        """Claim up to ``limit`` pending items of a job; a pending job is running from now on.

        ``among`` some of them, by their ids, if given.
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
            # Without the lease under which they were claimed the items are lost, too.
            return []
        columns = (claimed.items, claimed.paths, claimed.sizes, claimed.marks)
        return [
            ClaimedItem(ReadTask(item, job_id, path, size), mark)
            for item, path, size, mark in zip(*columns, strict=True)
        ]

    async def report(self, job_id: str, reports: Sequence[ItemReport]) -> JobStatus | None:
        """Write how items ended and how far others got, and move the job's counters by that.

        Each item counts exactly once, whoever else reports it and however often. Returns the
        job's state, or None if it was cancelled or has ended.
        """
        parameters = {
            "job": job_id,
            "worker": self.worker_id,
            "items": array_literal(r.task.item_id for r in reports),
            "states": array_literal(r.status for r in reports),
            "errors": array_literal(r.error or "" for r in reports),
            "marks": array_literal(r.reported_bytes for r in reports),
        }
        async with self._database.session() as session:
            row = await session.fetch_one(self._queries["report"], parameters)
        return None if row is None else JobStatus(row.status)

    async def finish_drained_job(self, job_id: str) -> bool:
        """End a job that has nothing left to run and did not notice; False if it has."""
        return bool(await self._execute("finish_drained_job", job=job_id))

    async def set_cached_flags(self, job_id: str, items: Sequence[int]) -> Sequence[int]:
        """Mark the files of items that a job has read; returns those whose files somebody holds.

        A file that has changed since is not marked. Raises `LockTimeout` if the whole table is
        held.
        """
        return await self._column("set_cached_flags", job=job_id, items=array_literal(items))

    async def files_with_unset_flags(self, job_id: str, after: int) -> Sequence[int]:
        """Items of files that a job has read and that are not marked: the next after an item."""
        return await self._column(
            "files_with_unset_flags", job=job_id, after=after, limit=FLAGS_PER_STATEMENT
        )

    async def jobs_with_unset_flags(self) -> Sequence[str]:
        """The ids of jobs that ended some time ago and whose files nobody has marked."""
        parameters = {"seconds": OVERLOOKED_SECONDS, "limit": MAX_ACTIVE_JOBS}
        rows = await self._database.fetch(self._queries["jobs_with_unset_flags"], parameters)
        return [row.job_id for row in rows]

    async def postpone_unset_flags(self, job_id: str) -> None:
        """Something is in the way of marking a job's files: it is overlooked until later."""
        await self._execute("postpone_unset_flags", job=job_id)

    async def clear_unset_flags(self, job_id: str) -> None:
        """The files of a job that has ended are marked, as far as they ever will be."""
        await self._execute("clear_unset_flags", job=job_id)

    async def set_cached_directory_flags(self, job_id: str) -> None:
        """Mark the directories that a job has completed: those with no uncached file below.

        Raises `LockTimeout` if somebody holds one of them.
        """
        paths = await self._column("parents_of_read_files", job=job_id)
        while paths:
            parents = await self._column("set_cached_directory_flags", job=job_id, paths=paths)
            paths = list({parent for parent in parents if parent})

    async def _column(self, query: str, **parameters: object) -> list[Any]:
        """The first column of a query that may take long, but not wait for locks."""
        async with self._database.transaction(WHOLE_JOB_SECONDS) as session:
            await session.execute(self._queries["bound_waits"])
            return [row[0] for row in await session.fetch(self._queries[query], parameters)]

    async def _execute(self, query: str, **parameters: object) -> int:
        async with self._database.session() as session:
            return await session.execute(
                self._queries[query], {"worker": self.worker_id, **parameters}
            )
