"""Leases: workers that die, lose theirs or get no answer; no file is lost or counted twice."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from gateway.database import Database, connection_arguments
from gateway.database.sql import load_queries
from gateway.job import Job
from gateway.runtime.tasks import cancel_and_wait
from gateway.worker.in_flight import ItemReport
from gateway.worker.item_store import ItemStore
from gateway.worker.worker import Worker
from support.plans_kit import CLAIM
from support.processes import environment, running_command
from support.worker_kit import (
    QUICK,
    Bench,
    GatedFiles,
    assert_never_falls,
    counters,
    ended_bytes,
    happens,
    item_states,
    query,
    until_blocked,
)

KIB = 1024
MIB = 1024 * KIB


# Workers that die


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_workers_that_are_killed_lose_nothing_and_count_nothing_twice(
    bench: Bench, tmp_path: Path, seed: int
) -> None:
    sizes = {f"a/{number}": 3 for number in range(2000)}
    sizes |= {f"a/large{number}": 48 * MIB for number in range(4)}
    await bench.index(sizes)
    total = sum(sizes.values())
    moments = sorted(random.Random(seed).sample(range(total), 3))
    env = environment(
        bench.settings,
        CONTAINER_MOUNT_POINT=str(bench.mount),
        WORKER_LEASE="1",
        WORKER_CONCURRENCY="3",
        WORKER_CHUNK_SIZE="16384",
        CACHE_PROGRESS_TIME_THRESHOLD="100",
    )
    seen: list[Job] = []
    job_id = await bench.submit("a")
    watch = asyncio.create_task(bench.end_of(job_id, seen))
    for moment in moments:
        async with running_command("worker", env=env, cwd=tmp_path) as worker:

            def reached(job: Job, moment: int = moment) -> bool:
                return job.status.has_ended or ended_bytes(job) >= moment

            await bench.watch(job_id, reached)
            worker.send(signal.SIGKILL)
            assert await worker.end() == -signal.SIGKILL
    async with running_command("worker", env=env, cwd=tmp_path) as worker:
        await worker.says("ready")
        await watch
        assert await worker.stop() == 0
    assert counters(bench.settings, job_id) == ("completed", len(sizes), 0, total, 0)
    assert item_states(bench.settings, job_id) == {"completed": len(sizes)}
    assert_never_falls(seen)


async def test_a_worker_that_is_torn_off_leaves_its_files_to_the_next(bench: Bench) -> None:
    await bench.index({f"a/{number}": 10 for number in range(100)})
    source = GatedFiles(bench.mount, held="/a/50")
    async with Database(bench.settings) as database:
        worker = Worker(bench.settings, database, source=source, timers=QUICK)
        working = asyncio.create_task(worker.run(asyncio.Event()))
        job_id = await bench.submit("a")
        await happens(source.waiting)
        await cancel_and_wait(working)
    source.gate.set()
    assert counters(bench.settings, job_id)[1] < 100
    async with bench.working(is_alone=True):
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", 100, 0, 1000, 0)
    assert item_states(bench.settings, job_id) == {"completed": 100}


async def test_what_the_backend_holds_is_never_given_back(
    bench: Bench, item_store: ItemStore
) -> None:
    await bench.index({"a/one": 1})
    job_id = await bench.submit("a")
    query(bench.settings, "UPDATE cache_job_items SET status='running', worker_id='backend-1'")
    assert await item_store.reclaim_expired_leases(everybody=True) == 0
    assert await item_store.reclaim_orphans([]) == 0
    assert item_states(bench.settings, job_id) == {"running": 1}


async def test_a_worker_that_is_alone_takes_everything_back_at_once(
    bench: Bench, item_store: ItemStore
) -> None:
    """Its predecessor was killed, and its lease has an hour to go."""
    query(bench.settings, "UPDATE teamcache_gateway.workers SET expires_at=now()+interval '1 hour'")
    await bench.index({"a/one": 1, "a/two": 2})
    job_id = await bench.submit("a")
    assert len(await item_store.claim(job_id, 2)) == 2
    async with bench.working(is_alone=True):
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", 2, 0, 3, 0)


async def test_a_worker_that_begins_later_keeps_its_lease_beside_one_that_was_alone(
    bench: Bench, item_store: ItemStore
) -> None:
    first = Worker(bench.settings, bench.database, is_alone=True)._lease
    await first.renew()
    assert not await item_store.renew_lease()
    await item_store.take_lease()
    await first.renew()
    assert await item_store.renew_lease()


async def test_a_lease_that_has_not_run_out_is_respected(
    bench: Bench, item_store: ItemStore
) -> None:
    await bench.index({"a/one": 1, "b/two": 2})
    held = await bench.submit("a")
    await item_store.claim(held, 1)
    async with bench.working():
        await bench.end_of(await bench.submit("b"))
    assert item_states(bench.settings, held) == {"running": 1}


async def test_what_a_dead_worker_held_of_a_cancelled_job_is_cancelled(
    bench: Bench, item_store: ItemStore
) -> None:
    await bench.index({"a/one": 1, "a/two": 1})
    job_id = await bench.submit("a")
    await item_store.claim(job_id, 1)
    await bench.store.cancel(job_id)
    await bench.store.cancel_items(job_id)
    await item_store.end_lease()
    assert item_states(bench.settings, job_id) == {"cancelled": 2}


# Leases that are lost


async def test_a_worker_that_lost_its_lease_goes_on_as_a_new_one(bench: Bench) -> None:
    await bench.index({f"a/{number}": 64 * KIB for number in range(50)})
    source = GatedFiles(bench.mount, held="/a/", after=32 * KIB)
    leases = "SELECT id FROM teamcache_gateway.workers"
    seen: list[Job] = []
    job_id = await bench.submit("a")
    changes = {"worker_lease": 1.0, "worker_chunk_size": 32 * KIB}
    async with bench.working(source=source, settings=changes):
        await bench.watch(job_id, lambda job: ended_bytes(job) > 0, seen)
        [before] = query(bench.settings, leases)
        query(bench.settings, "DELETE FROM teamcache_gateway.workers")
        async with asyncio.timeout(30):
            while not (after := query(bench.settings, leases)):
                await asyncio.sleep(0.02)
        source.gate.set()
        await bench.end_of(job_id, seen)
    assert after[0].id != before.id
    assert counters(bench.settings, job_id) == ("completed", 50, 0, 50 * 64 * KIB, 0)
    assert item_states(bench.settings, job_id) == {"completed": 50}
    assert_never_falls(seen)


async def test_a_worker_given_up_for_dead_counts_nothing_that_others_have_read(
    bench: Bench,
) -> None:
    await bench.index({"a/one": 64 * KIB})
    source = GatedFiles(bench.mount, held="/a/", after=32 * KIB)
    job_id = await bench.submit("a")
    changes = {"worker_lease": 1.0, "worker_chunk_size": 32 * KIB}
    async with bench.working(source=source, settings=changes):
        await bench.watch(job_id, lambda job: ended_bytes(job) > 0)
        source._held = "only the read under way is held"
        async with bench.working(is_alone=True):  # takes its items, lease or not
            await bench.end_of(job_id)
        source.gate.set()
        await bench.end_of(await bench.submit(files=["gone"]))
    assert counters(bench.settings, job_id) == ("completed", 1, 0, 64 * KIB, 0)


async def test_nothing_is_claimed_under_a_lease_that_ran_out(bench: Bench) -> None:
    await bench.index({"a/one": 1})
    job_id = await bench.submit("a")
    expired = ItemStore(bench.database, lease_seconds=-1)
    await expired.take_lease()
    assert await expired.claim(job_id, 1) == []
    assert item_states(bench.settings, job_id) == {"pending": 1}
    assert (await bench.store.get(job_id)).status == "pending"


async def test_a_claim_under_way_while_the_lease_runs_out_is_not_overlooked(
    bench: Bench, item_store: ItemStore
) -> None:
    await bench.index({f"a/{number}": 1 for number in range(5)})
    job_id = await bench.submit("a")
    dying = ItemStore(bench.database, lease_seconds=60)
    await dying.take_lease()
    with closing(psycopg2.connect(**connection_arguments(bench.settings))) as connection:
        claim = {"job": job_id, "worker": dying.worker_id, "limit": 5, **CLAIM}
        connection.cursor().execute(load_queries("worker")["claim"], claim)
        assert await item_store.reclaim_expired_leases(everybody=True) == 0  # it is not waited for
        connection.commit()
    assert item_states(bench.settings, job_id) == {"running": 5}
    assert await item_store.reclaim_expired_leases(everybody=True) == 5
    assert item_states(bench.settings, job_id) == {"pending": 5}


async def test_the_end_of_a_lease_waits_for_its_claim_under_way(
    bench: Bench, item_store: ItemStore
) -> None:
    await bench.index({f"a/{number}": 1 for number in range(5)})
    job_id = await bench.submit("a")
    with closing(psycopg2.connect(**connection_arguments(bench.settings))) as connection:
        claim = {"job": job_id, "worker": item_store.worker_id, "limit": 5, **CLAIM}
        connection.cursor().execute(load_queries("worker")["claim"], claim)
        ending = asyncio.create_task(item_store.end_lease())
        await until_blocked(bench.settings)
        connection.commit()
    await ending
    assert item_states(bench.settings, job_id) == {"pending": 5}


# Answers that are lost


async def test_a_report_whose_answer_was_lost_counts_once_when_it_is_sent_again(
    bench: Bench, item_store: ItemStore
) -> None:
    await bench.index({"a/one": 100, "a/two": 100, "a/three": 100, "a/four": 100})
    job_id = await bench.submit("a")
    one, two, three, _four = [item.task for item in await item_store.claim(job_id, 4)]
    reports = [
        ItemReport(one, "completed", None, 100),
        ItemReport(two, "failed", "gone", 0),
        ItemReport(three, "running", None, 40),
    ]
    for _ in range(2):
        await item_store.report(job_id, reports)
        assert counters(bench.settings, job_id) == ("running", 1, 1, 140, 100)
    await item_store.report(job_id, [ItemReport(three, "running", None, 60)])
    assert counters(bench.settings, job_id) == ("running", 1, 1, 160, 100)


async def test_a_claim_whose_answer_was_lost_is_found(bench: Bench, item_store: ItemStore) -> None:
    await bench.index({f"a/{number}": 1 for number in range(5)})
    job_id = await bench.submit("a")
    known = [item.task.item_id for item in await item_store.claim(job_id, 2)]
    await item_store.claim(job_id, 3)
    assert await item_store.reclaim_orphans(known) == 3
    assert item_states(bench.settings, job_id) == {"running": 2, "pending": 3}


async def test_a_worker_reads_what_it_claimed_without_knowing(bench: Bench) -> None:
    await bench.index({"a/one": 1, "b/two": 2})
    job_id = await bench.submit("a")
    source = GatedFiles(bench.mount, held="/b/")
    other = await bench.submit("b")
    query(bench.settings, "UPDATE cache_jobs SET status = 'paused' WHERE id = %s", job_id)
    timers = replace(QUICK, housekeeping=0.1)
    async with bench.working(source=source, timers=timers):
        await happens(source.waiting)
        query(
            bench.settings,
            "UPDATE cache_job_items SET status = 'running',"
            " worker_id = (SELECT id FROM teamcache_gateway.workers) WHERE job_id = %s",
            job_id,
        )
        query(bench.settings, "UPDATE cache_jobs SET status = 'running' WHERE id = %s", job_id)
        await bench.end_of(job_id)
        source.gate.set()
        await bench.end_of(other)
