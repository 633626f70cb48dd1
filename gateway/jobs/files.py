"""The files of a job, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gateway.database import Database, Session
from gateway.database.sql import load_queries
from gateway.errors import JobNotFound
from gateway.job import FileStatus, JobFile

LAST_ID: Final = (1 << 63) - 1


class JobFiles:
    """Reads the items of jobs, whichever worker writes them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = load_queries("planner", "job_files")

    async def page(
        self,
        job_id: str,
        status: FileStatus | None = None,
        limit: int = 50,
        offset: int = 0,
        submitted_by: str | None = None,
    ) -> tuple[Sequence[JobFile], int]:
        """A page of the job's files in the order in which it holds them, and how many match in all.

        With ``submitted_by`` only that key's jobs are there. Raises `JobNotFound`,
        `DatabaseUnavailable`.
        """
        asked = {
            "job": job_id, "status": status, "limit": limit, "offset": offset,
            "states": list(FileStatus), "last": LAST_ID, "submitted_by": submitted_by,
        }  # fmt: skip
        async with self._database.transaction() as session:
            counters = await session.fetch_one(self._queries["counters"], asked)
            if counters is None:
                raise JobNotFound
            await session.execute(self._queries["keep_to_the_order"])
            rows = await session.fetch(self._queries["page"], asked)
            # Where the job ends within the page, nobody has to count.
            if len(rows) < limit and (rows or not offset):
                total = offset + len(rows)
            else:
                counted = _counted(counters, status) or await self._count(session, asked)
                # The counters are of a moment before.
                total = max(counted, offset + len(rows) if rows else 0)
        return [_build_file(row) for row in rows], total

    async def _count(self, session: Session, asked: dict[str, Any]) -> int:
        row = await session.fetch_one(self._queries["count"], asked)
        return int(row.total)


def _counted(counters: Any, status: FileStatus | None) -> int:
    """What the job's counters say of a state; 0 where they say nothing, or nobody keeps them."""
    told = {
        None: counters.total_files,
        FileStatus.COMPLETED: counters.completed_files,
        FileStatus.FAILED: counters.failed_files,
    }
    return told.get(status) or 0


def _build_file(row: Any) -> JobFile:
    return JobFile(
        path=row.path,
        status=FileStatus(row.status),
        size=int(row.size),
        bytes_read=int(row.bytes_read),
        seconds=None if row.seconds is None else max(0.0, round(row.seconds, 3)),
        started_at=row.started_at,
        completed_at=row.completed_at,
        error=row.error,
    )
