"""Reports, claims and marks go on beside each other, and none runs away from the others."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.worker import pacing
from support.worker_kit import (
    PATIENCE,
    QUICK,
    Bench,
    GatedFiles,
    item_states,
    query,
    until_blocked,
)

FILES = 300
MAX_UNREPORTED = 40


async def test_while_a_report_waits_no_more_is_claimed_than_can_be_reported(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "MAX_UNREPORTED", MAX_UNREPORTED)
    await bench.index({f"a/{number}": 1 for number in range(FILES)})
    job_id = await bench.submit("a")
    # A claim from a job that is running already does not wait for its row; a report does.
    query(bench.settings, "UPDATE cache_jobs SET status = 'running', started_at = now()")

    def claimed() -> int:
        return item_states(bench.settings, job_id).get("running", 0)

    async with bench.database.transaction() as session:
        await session.execute("SELECT 1 FROM cache_jobs FOR UPDATE")
        async with bench.working(settings={"worker_concurrency": 2}):
            async with asyncio.timeout(PATIENCE):
                await until_blocked(bench.settings)
                while claimed() <= MAX_UNREPORTED:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)  # what is not to happen has some time to
            assert claimed() < FILES
            await session.execute("ROLLBACK")
            await bench.end_of(job_id)


async def test_while_a_claim_waits_what_was_read_is_reported(bench: Bench) -> None:
    await bench.index({"a/one": 1, "b/two": 1})
    first, second = await bench.submit("a"), await bench.submit("b")
    source = GatedFiles(bench.mount, held="one")
    async with bench.working(source=source, settings={"db_statement_timeout": 5 * PATIENCE}):
        await bench.end_of(second)
        async with bench.database.transaction() as session:
            third = await bench.submit("b")
            # The claim's statement makes the job a running one, and waits for its row.
            await session.execute(
                "SELECT 1 FROM cache_jobs WHERE id = %(id)s::uuid FOR UPDATE", {"id": third}
            )
            source.gate.set()
            await bench.end_of(first)
        await bench.end_of(third)


async def test_a_stop_in_the_middle_of_a_job_marks_what_was_read(bench: Bench) -> None:
    await bench.index({"a/held": 1, "a/one": 1})
    source = GatedFiles(bench.mount, held="held")
    job_id = await bench.submit("a")
    # The reader gets a quarter of the time to come back, which it does not.
    timers = replace(QUICK, hold=3600)
    async with bench.working(source=source, settings={"shutdown_timeout": 4.0}, timers=timers):
        await bench.watch(job_id, lambda job: job.progress.completed_files == 1)
    source.gate.set()
    [row] = query(bench.settings, "SELECT cached FROM files WHERE name = 'one'")
    assert row.cached
