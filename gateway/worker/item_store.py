"""Verbs on a job's items, as a worker needs them: lease, claim, report, give back."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.database import Database
from gateway.jobs import JobStatus
from gateway.sql import load_queries
from gateway.worker.ledger import ItemReport
from gateway.worker.reader import ReadTask

ACTIVE_JOBS = 64


ANNOUNCED = ("completed", "failed")
# A notification holds less than 8,000 bytes; an id has at most 19 digits.
ANNOUNCED_AT_ONCE = 350


@dataclass(frozen=True, slots=True)
class ClaimedItem:
    """An item that is ours to read; ``mark`` bytes of it were counted before."""

    task: ReadTask
    mark: int


class ItemStore:
    """The items in the database, seen by one worker under its lease."""

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._queries = load_queries("worker")
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
        """Stop being a worker."""
        await self._execute("end_lease")

    async def give_back_expired(self, *, everybody: bool = False) -> int:
        """Return the items of workers whose lease ran out; ``everybody``: of all workers but us."""
        return await self._execute("give_back_expired", everybody=everybody)

    async def give_back(self, item_ids: Sequence[int]) -> None:
        """Return items of ours that were not read."""
        if item_ids:
            await self._execute("give_back", items=list(item_ids))

    async def active_jobs(self) -> Sequence[tuple[str, JobStatus]]:
        """Jobs that are pending or running, oldest first: ids with their states."""
        rows = await self._database.fetch(self._queries["active_jobs"], {"limit": ACTIVE_JOBS})
        return [(row.id, JobStatus(row.status)) for row in rows]

    async def stopped_jobs(self, job_ids: Sequence[str]) -> Sequence[str]:
        """Those of the jobs that were cancelled, ended or deleted."""
        if not job_ids:
            return []
        rows = await self._database.fetch(self._queries["stopped_jobs"], {"jobs": list(job_ids)})
        return [row.id for row in rows]

    async def claim(self, job_id: str, limit: int, *, start: bool) -> Sequence[ClaimedItem]:
        """Claim up to ``limit`` pending items of a job. ``start``: the job itself is pending."""
        parameters = {"job": job_id, "worker": self.worker_id, "limit": limit}
        async with self._database.transaction() as session:
            rows = await session.fetch(self._queries["claim"], parameters)
            if rows and start:
                await session.execute(self._queries["start_job"], parameters)
        return [
            ClaimedItem(ReadTask(row.id, job_id, row.file_path, row.size), row.bytes_read)
            for row in rows
        ]

    async def report(self, job_id: str, reports: Sequence[ItemReport]) -> JobStatus | None:
        """Write how items ended and how far others got, and move the job's counters by that.

        One transaction: each item counts exactly once, whoever else reports it. Returns the
        job's state, or None if it was cancelled or has ended.
        """
        async with self._database.transaction() as session:
            # Before the counters: whoever watches hears of the last file, then of the job's end.
            for ids in _batches([r.task.item_id for r in reports if r.status in ANNOUNCED]):
                files = {"items": ids, "job": job_id}
                await session.execute(self._queries["announce_files"], files)
            row = await session.fetch_one(
                self._queries["report"],
                {
                    "job": job_id,
                    "worker": self.worker_id,
                    "items": [r.task.item_id for r in reports],
                    "states": [r.status for r in reports],
                    "errors": [r.error for r in reports],
                    "marks": [r.mark for r in reports],
                    "completed_bytes": [r.completed_bytes for r in reports],
                    "failed_bytes": [r.failed_bytes for r in reports],
                },
            )
            if read := [r.task.path for r in reports if r.status == "completed"]:
                await session.execute(self._queries["mark_cached"], {"paths": read, "job": job_id})
        return None if row is None else JobStatus(row.status)

    async def end_exhausted_job(self, job_id: str) -> None:
        """End a job that has nothing left to run and did not notice."""
        await self._execute("end_exhausted_job", job=job_id)

    async def mark_cached_directories(self, job_id: str) -> None:
        """Mark the directories that a job has completed: those with no uncached file below."""
        rows = await self._database.fetch(self._queries["parents_of_read_files"], {"job": job_id})
        paths = [row.path for row in rows]
        while paths:
            rows = await self._database.fetch(
                self._queries["mark_cached_directories"], {"job": job_id, "paths": paths}
            )
            paths = list({row.parent_path for row in rows if row.parent_path})

    async def _execute(self, query: str, **parameters: object) -> int:
        async with self._database.session() as session:
            return await session.execute(
                self._queries[query], {"worker": self.worker_id, **parameters}
            )


def _batches(item_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(item_ids), ANNOUNCED_AT_ONCE):
        yield item_ids[start : start + ANNOUNCED_AT_ONCE]
