"""Verbs on jobs: create, get, list, cancel. Each is one statement, or a few in one transaction."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gateway.database import Database, Session, array_literal
from gateway.database.sql import load_queries
from gateway.errors import JobEnded, JobNotFound, NoFilesFound
from gateway.job import CreatedJob, Job, JobStatus, Progress
from gateway.paths import Filespaces
from gateway.runtime.cached_reads import CachedReads
from gateway.runtime.offload import run_in_thread_if_large

CANCEL_BATCH = 10_000
# The sums of a page of jobs run side by side, and leave connections to everybody else.
MAX_CONCURRENT_SUMS = 2
# A cancelled job is not among them: the backend still finishes the files in its hands.
SETTLED = (JobStatus.COMPLETED, JobStatus.FAILED)
# However often such a job is polled, its items are summed up once a second.
SUM_SECONDS = 1.0
CACHED_SUMS = 1000
COUNT_SECONDS = 5.0

SumKey = tuple[str, bool]
"""A job's id, and whether it is settled."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a job shall read, as absolute paths in the filespace; no file stands in it twice.

    ``trees`` are directories with all that is below, ``folders`` directories without their
    subdirectories. ``sizes`` gives each of ``paths`` its bytes. ``maybe`` maps listed files inside
    a listed directory that the index does not know to their bytes. ``listed_files`` and
    ``listed_directories`` are what the caller named, kept with the job, as is ``submitted_by``, the
    name of his API key.
    """

    listed_files: Sequence[str] = ()
    listed_directories: Sequence[str] = ()
    paths: Sequence[str] = ()
    sizes: Sequence[int] = ()
    trees: Sequence[str] = ()
    folders: Sequence[str] = ()
    maybe: Mapping[str, int] = field(default_factory=dict)
    submitted_by: str | None = None


class Claim(Protocol):
    """The right to answer a submit that may be repeated.

    Its methods run in the transaction that creates the job. What they raise leaves no job.
    """

    async def lock(self, session: Session) -> None:
        """Keep out other gateways that answer the same submit."""

    async def keep(self, session: Session, job: CreatedJob) -> None:
        """Store the response."""


class JobStore:
    """The jobs in the database.

    ``filespaces``: errors of jobs name files relative to them, and not as the worker sees them.
    """

    def __init__(
        self, database: Database, submit_seconds: float, filespaces: Filespaces | None = None
    ) -> None:
        self._database = database
        self._filespaces = filespaces
        self._submit_seconds = submit_seconds
        self._queries = load_queries("jobs")
        self._size_sums = CachedReads(self._sum_item_sizes, _seconds_fresh, CACHED_SUMS)
        self._counts = CachedReads(self._count_by_status, lambda _key: COUNT_SECONDS)
        self._sums = asyncio.Semaphore(MAX_CONCURRENT_SUMS)

    def slow_query_slot(self) -> AbstractAsyncContextManager[None]:
        """One's turn to `create` a job, and to ask the index for it before, which is slow work too.

        Raises `Unavailable` if it does not come in time.
        """
        return self._database.slow_query_slot("jobs are being created")

    async def create(self, request: JobRequest, claim: Claim | None = None) -> CreatedJob:
        """Write the job and its items, visible together or not at all.

        The files of a directory never leave the database. Raises `NoFilesFound` and writes
        nothing if there is no file at all, `DatabaseUnavailable`. Await it in a `slow_query_slot`.
        """
        parameters = await run_in_thread_if_large(len(request.listed_files), _parameters, request)
        with self._database.full_disk.watched():
            return await self._create(parameters, claim)

    async def _create(self, parameters: Mapping[str, Any], claim: Claim | None) -> CreatedJob:
        async with self._database.transaction(self._submit_seconds) as session:
            if claim is not None:
                await claim.lock(session)
            row = await session.fetch_one(self._queries["create"], parameters)
            if row is None:
                raise NoFilesFound
            job = _build_created(row)
            if claim is not None:
                await claim.keep(session, job)
        return job

    async def get(self, job_id: str) -> Job:
        """The job with this canonical id. Raises `JobNotFound`."""
        row = await self._database.fetch_one(self._queries["get"], {"id": job_id})
        if row is None:
            raise JobNotFound
        return await self._with_sizes(row)

    async def page(
        self,
        status: JobStatus | None = None,
        limit: int = 50,
        offset: int = 0,
        submitted_by: str | None = None,
    ) -> tuple[Sequence[str], int]:
        """The versions of a page of jobs, newest first, and how many jobs match in all.

        A version names a job (`id_of`) and changes whenever its row does. ``submitted_by`` is the
        name of the key whose jobs are meant; None: everybody's.
        """
        parameters = {
            "status": status, "limit": limit, "offset": offset, "submitted_by": submitted_by,
        }  # fmt: skip
        row = await self._database.fetch_one(self._queries["page"], parameters)
        return row.versions.split(",") if row.versions else (), row.total

    async def read(self, job_ids: Sequence[str]) -> Sequence[tuple[Job, str | None]]:
        """Those of the jobs that are there, in no order, with their versions.

        There is no version where not all that is told of a job stands in its row.
        """
        parameters = {"ids": array_literal(job_ids)}
        rows = await self._database.fetch(self._queries["read"], parameters)
        jobs = await asyncio.gather(*map(self._with_sizes, rows))
        return [
            (job, None if self._build(row).progress.lacks_sizes else row.version)
            for job, row in zip(jobs, rows, strict=True)
        ]

    async def newest(self, limit: int, submitted_by: str | None = None) -> Sequence[Job]:
        """The ``limit`` jobs that were created last, newest first; sizes as `recent` has them."""
        parameters = {"status": None, "limit": limit, "offset": 0, "submitted_by": submitted_by}
        return [
            self._build(r) for r in await self._database.fetch(self._queries["list"], parameters)
        ]

    async def count_by_status(self) -> Mapping[JobStatus, int]:
        """How many jobs there are of each state that any job is in, at most five seconds old.

        Counting looks at every job, and anybody may ask for metrics. Raises `DatabaseUnavailable`.
        """
        return await self._counts.get(None)

    async def _count_by_status(self, _key: None) -> Mapping[JobStatus, int]:
        rows = await self._database.fetch(self._queries["count_by_status"])
        return {JobStatus(row.status): row.total for row in rows}

    async def recent(self, limit: int) -> Sequence[Job]:
        """All jobs that have not ended, and the ``limit`` that ended last, as they ended.

        Sizes that a backend does not keep are lacking: summing up so many takes too long.
        """
        rows = await self._database.fetch(self._queries["recent"], {"limit": limit})
        return [self._build(row) for row in reversed(rows)]

    async def files_by_id(self, item_ids: Sequence[int]) -> Sequence[Any]:
        """Files that ended: rows of ``path``, ``size`` (bytes), ``error`` (None: it was read)."""
        return await self._database.fetch(self._queries["files_by_id"], {"items": list(item_ids)})

    async def cancel(self, job_id: str, submitted_by: str | None = None) -> None:
        """Commit the job's state; its items follow by `cancel_items`.

        With ``submitted_by`` only that key's jobs are there. Raises `JobNotFound`, or `JobEnded`
        with the status in its details.
        """
        asked = {"id": job_id, "submitted_by": submitted_by}
        async with self._database.transaction() as session:
            if await session.fetch_one(self._queries["cancel"], asked):
                return
            row = await session.fetch_one(self._queries["status"], asked)
        if row is None:
            raise JobNotFound
        raise JobEnded(f"Job has already ended: {row.status}", {"status": row.status})

    async def cancelled_with_pending_items(self) -> Sequence[str]:
        """The ids of cancelled jobs whose items have not followed yet."""
        rows = await self._database.fetch(self._queries["cancelled_with_pending_items"])
        return [row.id for row in rows]

    async def cancel_items(self, job_id: str) -> int:
        """Cancel the pending items of a cancelled job, batch by batch; returns how many."""
        total = 0
        while True:
            async with self._database.session() as session:
                cancelled = await session.execute(
                    self._queries["cancel_items"], {"id": job_id, "limit": CANCEL_BATCH}
                )
            total += cancelled
            if cancelled < CANCEL_BATCH:
                return total

    def _build(self, row: Any) -> Job:
        job = _build_job(row)
        if job.error is None or self._filespaces is None:
            return job
        return replace(job, error=self._filespaces.relative_in(job.error))

    async def _with_sizes(self, row: Any) -> Job:
        """Build the job. The sizes that a backend does not keep are summed up from its items."""
        job = self._build(row)
        if not job.progress.lacks_sizes:
            return job
        completed, failed = await self._size_sums.get((row.id, job.status in SETTLED))
        progress = replace(
            job.progress,
            completed_bytes=job.progress.completed_bytes or completed,
            failed_bytes=job.progress.failed_bytes or failed,
        )
        return replace(job, progress=progress)

    async def _sum_item_sizes(self, key: SumKey) -> tuple[int, int]:
        """The completed and the failed bytes of a job whose worker keeps neither."""
        async with self._sums:
            row = await self._database.fetch_one(self._queries["sum_item_sizes"], {"id": key[0]})
        return int(row.completed_bytes), int(row.failed_bytes)


def _seconds_fresh(key: SumKey) -> float:
    """How long a sum is fresh: that of a settled job does not change."""
    return math.inf if key[1] else SUM_SECONDS


def id_of(version: str) -> str:
    """The id of the job that a version is of."""
    return version.partition(" ")[0]


def _parameters(request: JobRequest) -> Mapping[str, str | None]:
    return {
        "id": str(uuid.uuid4()),
        "trees": array_literal(request.trees),
        "folders": array_literal(request.folders),
        "paths": array_literal(request.paths),
        "sizes": array_literal(request.sizes),
        "maybe_paths": array_literal(request.maybe),
        "maybe_sizes": array_literal(request.maybe.values()),
        "file_paths": array_literal(request.listed_files),
        "directory_paths": array_literal(request.listed_directories),
        "submitted_by": request.submitted_by,
    }


def _build_created(row: Any) -> CreatedJob:
    return CreatedJob(
        row.id, JobStatus(row.status), row.total_files, int(row.total_size_bytes), row.created_at
    )


def _build_job(row: Any) -> Job:
    status = JobStatus(row.status)
    return Job(
        id=row.id,
        status=status,
        progress=Progress(
            total_files=row.total_files or 0,
            completed_files=row.completed_files or 0,
            failed_files=row.failed_files or 0,
            total_bytes=int(row.total_size_bytes or 0),
            completed_bytes=int(row.completed_size_bytes or 0),
            failed_bytes=int(row.failed_size_bytes or 0),
            is_over=status.has_ended,
        ),
        created_at=row.created_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        error=row.error_message,
        worker_id=row.worker_id,
        submitted_by=row.submitted_by,
    )
