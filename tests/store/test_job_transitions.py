"""What every statement of ours makes of a job in each state, against the table of transitions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import pytest

from gateway.errors import JobEnded
from gateway.job import TRANSITIONS, JobStatus
from gateway.worker.in_flight import ItemReport
from gateway.worker.item_store import ItemStore
from gateway.worker.readers.read_task import ReadTask
from support.worker_kit import Bench, counters, query

PENDING, RUNNING, PAUSED = JobStatus.PENDING, JobStatus.RUNNING, JobStatus.PAUSED
COMPLETED, FAILED, CANCELLED = JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED


async def cancel(bench: Bench, item_store: ItemStore, job_id: str) -> None:
    with suppress(JobEnded):
        await bench.store.cancel(job_id)


async def claim(bench: Bench, item_store: ItemStore, job_id: str) -> None:
    await item_store.claim(job_id, 9)


def reporting(end: str) -> Verb:
    """The report of a file as ended; it was claimed in time, whatever became of its job since."""

    async def report(bench: Bench, item_store: ItemStore, job_id: str) -> None:
        [item] = query(
            bench.settings,
            "UPDATE cache_job_items SET status = 'running', worker_id = %s WHERE job_id = %s"
            " RETURNING id, file_path",
            item_store.worker_id,
            job_id,
        )
        task = ReadTask(item.id, job_id, item.file_path, 0)
        await item_store.report(job_id, [ItemReport(task, end, None, 0)])

    return report


def exhausted(state: str) -> Verb:
    """The end of a job that did not notice its own; its only file is in this state."""

    async def end(bench: Bench, item_store: ItemStore, job_id: str) -> None:
        query(
            bench.settings,
            "UPDATE cache_job_items SET status = %s WHERE job_id = %s",
            state,
            job_id,
        )
        await item_store.finish_drained_job(job_id)

    return end


Verb = Callable[[Bench, ItemStore, str], Awaitable[None]]
# What each makes of a job, by the state that it was in; of others it makes nothing.
VERBS: Mapping[str, tuple[Verb, Mapping[JobStatus, JobStatus]]] = {
    "cancel": (cancel, dict.fromkeys((PENDING, RUNNING, PAUSED), CANCELLED)),
    "claim": (claim, {PENDING: RUNNING}),
    "report a file read": (
        reporting("completed"),
        dict.fromkeys((PENDING, RUNNING, PAUSED), COMPLETED),
    ),
    "report a file failed": (
        reporting("failed"),
        dict.fromkeys((PENDING, RUNNING, PAUSED), FAILED),
    ),
    "end, all read": (exhausted("completed"), dict.fromkeys((PENDING, RUNNING), COMPLETED)),
    "end, all failed": (exhausted("failed"), dict.fromkeys((PENDING, RUNNING), FAILED)),
}


@pytest.mark.parametrize("before", JobStatus)
@pytest.mark.parametrize("name", VERBS)
async def test_a_statement_takes_a_job_where_it_should(
    bench: Bench, item_store: ItemStore, name: str, before: JobStatus
) -> None:
    verb, made = VERBS[name]
    job_id = await bench.submit(files=["a"])
    query(bench.settings, "UPDATE cache_jobs SET status = %s WHERE id = %s", before.value, job_id)
    await verb(bench, item_store, job_id)
    assert counters(bench.settings, job_id)[0] == made.get(before, before)


def through(before: JobStatus, after: JobStatus) -> bool:
    """Whether a job may get there, also by way of running: its last file may end it at once."""
    return after in TRANSITIONS[before] or (
        RUNNING in TRANSITIONS[before] and after in TRANSITIONS[RUNNING]
    )


def test_every_transition_that_we_make_is_in_the_table() -> None:
    made = [step for _, steps in VERBS.values() for step in steps.items()]
    assert [step for step in made if not through(*step)] == []


@pytest.mark.parametrize("other", JobStatus)
async def test_a_cancelled_job_becomes_only_what_the_table_says(
    bench: Bench, other: JobStatus
) -> None:
    """Another's worker writes states without looking; the database sees to it."""
    job_id = await bench.submit(files=["a"])
    await bench.store.cancel(job_id)
    query(bench.settings, "UPDATE cache_jobs SET status = %s WHERE id = %s", other.value, job_id)
    expected = other if other in TRANSITIONS[CANCELLED] else CANCELLED
    assert counters(bench.settings, job_id)[0] == expected
