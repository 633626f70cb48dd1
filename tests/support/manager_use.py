"""What the tests of the migrations share: is it all there, and does the gateway work on it."""

from __future__ import annotations

from gateway.database import Database
from gateway.database.migrations import migrate, pending_statements
from gateway.database.sql import load_migrations
from gateway.job import JobStatus
from gateway.jobs.store import JobRequest, JobStore
from gateway.settings import Settings
from support.manager_schema import (
    FILE,
    JOB_ID,
)


def step_titles() -> list[str]:
    return [step.title for migration in load_migrations() for step in migration.steps]


async def is_up_to_date(settings: Settings) -> bool:
    return not await migrate(settings) and not await pending_statements(settings, settings.db_user)


async def use_gateway(settings: Settings) -> None:
    """Create a job and cancel it, as requests do."""
    async with Database(settings) as database:
        store = JobStore(database, 60)
        job = await store.create(
            JobRequest(listed_files=[FILE], paths=[FILE], sizes=[100], folders=["/media"])
        )
        await store.cancel(job.id)
        assert await store.cancel_items(job.id) == 1
        assert (await store.get(job.id)).status is JobStatus.CANCELLED
        assert (await store.get(JOB_ID)).progress.total_files == 1
