"""A worker that is stopped, paused, cancelled, or left without its database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.database.migrations import migrate
from gateway.job import Job, JobStatus
from gateway.standalone.postgres import EmbeddedPostgres
from gateway.worker.in_flight import ItemReport
from gateway.worker.item_store import ItemStore
from support.database import ROLE, WITHOUT_DURABILITY, make_settings
from support.worker_kit import (
    PATIENCE,
    Bench,
    GatedFiles,
    assert_never_falls,
    counters,
    happens,
    item_states,
    open_bench,
    query,
    until_blocked,
)

MIB = 1024 * 1024


async def until_none_runs(bench: Bench, job_id: str) -> None:
    """Items announce nothing: look until no item of the job is in a worker's hands."""
    async with asyncio.timeout(30):
        while "running" in item_states(bench.settings, job_id):
            await asyncio.sleep(0.02)


# Cancelling


async def test_a_cancelled_job_is_read_no_further(bench: Bench) -> None:
    """Reads go on chunk by chunk for minutes, unless they are told to stop."""

    class Slow(GatedFiles):
        def read(self, descriptor, buffers, offset, /):  # type: ignore[no-untyped-def]
            self.waiting.set()
            self.gate.wait(0.05)
            return super().read(descriptor, buffers, offset)

    await bench.index({f"a/{number}": 64 * MIB for number in range(4)})
    source = Slow(bench.mount, held="nothing")
    job_id = await bench.submit("a")
    changes = {"worker_concurrency": 2, "worker_chunk_size": 4096}
    async with bench.working(source=source, settings=changes):
        await happens(source.waiting)
        await bench.store.cancel(job_id)
        # Uncancelled, these reads would take more than an hour.
        await until_none_runs(bench, job_id)
        assert len(source.closed) == 2
    await bench.store.cancel_items(job_id)
    assert counters(bench.settings, job_id)[0] == "cancelled"
    assert item_states(bench.settings, job_id) == {"cancelled": 4}


async def test_a_cancelled_read_that_hangs_is_let_go_of(bench: Bench) -> None:
    await bench.index({"a/hangs": 10})
    source = GatedFiles(bench.mount, held="hangs")
    job_id = await bench.submit("a")
    async with bench.working(source=source):
        await happens(source.waiting)
        await bench.store.cancel(job_id)
        await until_none_runs(bench, job_id)
        other = await bench.submit(files=["gone"])
        await bench.end_of(other)
    source.gate.set()
    assert counters(bench.settings, job_id)[:2] == ("cancelled", 0)


async def test_what_is_reported_after_the_cancel_is_cancelled_as_the_counters_have_it(
    bench: Bench, item_store: ItemStore
) -> None:
    await bench.index({"a/one": 1, "a/two": 1, "a/three": 1})
    job_id = await bench.submit("a")
    one, two, three = await item_store.claim(job_id, 3)
    await item_store.report(job_id, [ItemReport(one.task, "completed", None, 1)])
    await bench.store.cancel(job_id)
    late = [ItemReport(two.task, "completed", None, 1), ItemReport(three.task, "failed", "gone", 0)]
    assert await item_store.report(job_id, late) is None
    assert counters(bench.settings, job_id) == ("cancelled", 1, 0, 1, 0)
    assert item_states(bench.settings, job_id) == {"completed": 1, "cancelled": 2}


async def test_what_ends_after_the_cancel_does_not_bring_the_job_back(bench: Bench) -> None:
    await bench.index({"a/one": 10})
    source = GatedFiles(bench.mount, held="one")
    job_id = await bench.submit("a")
    async with bench.working(source=source):
        await happens(source.waiting)
        await bench.store.cancel(job_id)
        source.gate.set()
        await until_none_runs(bench, job_id)
    assert counters(bench.settings, job_id)[:2] == ("cancelled", 0)


async def test_a_job_that_is_deleted_while_it_is_read_harms_nobody(bench: Bench) -> None:
    await bench.index({"a/one": 10, "b/two": 10})
    source = GatedFiles(bench.mount, held="/a/")
    job_id = await bench.submit("a")
    async with bench.working(source=source):
        await happens(source.waiting)
        query(bench.settings, "DELETE FROM cache_jobs WHERE id = %s", job_id)
        source.gate.set()
        await bench.end_of(await bench.submit("b"))


# Pausing


async def test_a_paused_job_is_not_claimed_and_goes_on_when_it_is_resumed(bench: Bench) -> None:
    await bench.index({f"a/{number:03}": 1 for number in range(100)})
    source = GatedFiles(bench.mount, held="/a/")
    job_id = await bench.submit("a")
    async with bench.working(source=source, settings={"worker_concurrency": 2}):
        await happens(source.waiting)
        query(bench.settings, "UPDATE cache_jobs SET status = 'paused' WHERE id = %s", job_id)
        source.gate.set()
        await until_none_runs(bench, job_id)
        # Another job shows that the worker went on looking for work.
        await bench.end_of(await bench.submit(files=["gone"]))
        status, completed, *_ = counters(bench.settings, job_id)
        assert (status, completed < 10) == ("paused", True)
        assert item_states(bench.settings, job_id)["pending"] == 100 - completed
        query(bench.settings, "UPDATE cache_jobs SET status = 'pending' WHERE id = %s", job_id)
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", 100, 0, 100, 0)


async def test_a_job_that_is_paused_before_it_began_stays_paused(bench: Bench) -> None:
    await bench.index({"a/one": 1})
    job_id = await bench.submit("a")
    query(bench.settings, "UPDATE cache_jobs SET status = 'paused'")
    async with bench.working():
        await bench.end_of(await bench.submit(files=["gone"]))
    assert item_states(bench.settings, job_id) == {"pending": 1}


# Stopping


async def test_a_stopped_worker_gives_back_what_it_has_not_read(bench: Bench) -> None:
    await bench.index({f"a/{number}": 8 * MIB for number in range(9)})
    source = GatedFiles(bench.mount, held="/a/", after=4 * MIB)
    seen: list[Job] = []
    job_id = await bench.submit("a")
    changes = {"worker_concurrency": 2, "shutdown_timeout": 2.0}
    async with bench.working(source=source, settings=changes):
        await bench.watch(job_id, lambda job: job.progress.completed_bytes >= 8 * MIB, seen)
        [lease] = query(bench.settings, "SELECT id FROM teamcache_gateway.workers")
        source._held = "nothing is held any more"
        # The gate stays shut: the two that wait there hang while the worker is stopped.
    assert item_states(bench.settings, job_id) == {"pending": 9}
    assert query(bench.settings, "SELECT id FROM teamcache_gateway.workers") == []
    assert query(bench.settings, "SELECT 1 FROM cache_job_items WHERE worker_id IS NOT NULL") == []
    assert counters(bench.settings, job_id)[3] == 8 * MIB
    source.gate.set()
    async with bench.working():
        await bench.end_of(job_id, seen)
    assert counters(bench.settings, job_id) == ("completed", 9, 0, 72 * MIB, 0)
    assert_never_falls(seen)
    assert lease.id


async def test_a_stop_in_the_middle_of_a_job_reports_all_that_was_read(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.index({f"a/{number}": 10 for number in range(1000)})
    job_id = await bench.submit("a")
    source = GatedFiles(bench.mount)
    async with bench.working(source=source, settings={"worker_concurrency": 2}):
        source.gate.set()
        await bench.watch(job_id, lambda job: job.progress.completed_files > 0)
    assert "not reported" not in caplog.text
    states = item_states(bench.settings, job_id)
    assert set(states) <= {"completed", "pending"}
    assert counters(bench.settings, job_id)[1] == states["completed"]
    # Each reader may have opened a file and not read it.
    assert len(source.closed) - states["completed"] <= 2


async def test_an_idle_worker_stops_at_once_and_leaves_no_lease(bench: Bench) -> None:
    async with bench.working():
        await bench.end_of(await bench.submit(files=["gone"]))
    assert query(bench.settings, "SELECT id FROM teamcache_gateway.workers") == []


async def test_a_worker_that_is_stopped_as_it_starts_ends(bench: Bench) -> None:
    async with bench.working():
        pass
    assert query(bench.settings, "SELECT id FROM teamcache_gateway.workers") == []


async def test_a_worker_whose_database_is_not_there_ends_when_it_is_stopped(
    bench: Bench,
) -> None:
    changes = {"db_host": "/nonexistent", "shutdown_timeout": 1.0}
    async with bench.working(settings=changes) as task:
        done, _ = await asyncio.wait({task}, timeout=0.2)
        assert not done


async def test_a_database_that_does_not_answer_does_not_hold_up_the_end(bench: Bench) -> None:
    """Somebody has locked the job's row: the report waits for it."""
    await bench.index({"a/one": 10})
    job_id = await bench.submit("a")
    async with bench.database.transaction() as session:
        await session.execute("SELECT 1 FROM cache_jobs FOR UPDATE")
        # The end has no more than `PATIENCE`; the statement would go on for longer.
        changes = {"shutdown_timeout": 1.0, "db_statement_timeout": 5 * PATIENCE}
        async with bench.working(settings=changes):
            await until_blocked(bench.settings)
    async with bench.working(is_alone=True):
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", 1, 0, 10, 0)


async def test_a_job_whose_row_is_locked_does_not_hold_up_the_others(bench: Bench) -> None:
    await bench.index({"a/one": 10, "b/two": 10})
    first, second = await bench.submit("a"), await bench.submit("b")
    async with bench.database.transaction() as session:
        lock = "SELECT 1 FROM cache_jobs WHERE id = %(id)s::uuid FOR UPDATE"
        await session.execute(lock, {"id": first})
        async with bench.working(settings={"db_statement_timeout": 0.5}):
            await bench.end_of(second)


async def test_a_last_report_that_fails_is_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.index({"a/one": 10})
    source = GatedFiles(bench.mount, held="one")
    job_id = await bench.submit("a")
    async with bench.database.transaction() as session:
        changes = {"db_statement_timeout": 1.0, "shutdown_timeout": 20.0}
        async with bench.working(source=source, settings=changes):
            await happens(source.waiting)
            await session.execute("SELECT 1 FROM cache_jobs FOR UPDATE")
            caplog.clear()
            # It is read while the worker shuts down: only the last report tells of it.
            asyncio.get_running_loop().call_later(0.5, source.gate.set)
    assert "The database took too long to answer" in caplog.text
    assert "1 files that were read are not reported" in caplog.text
    async with bench.working():
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", 1, 0, 10, 0)


# A database that goes away


FAILING = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE disk_full USING MESSAGE = 'no room'; END $$;
CREATE TRIGGER fail BEFORE UPDATE OF completed_files ON cache_jobs
FOR EACH ROW EXECUTE FUNCTION fail();
"""


async def test_reports_that_fail_are_logged_once_and_counted_when_they_succeed(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "gateway.worker")
    await bench.index({f"a/{number}": 10 for number in range(50)})
    query(bench.settings, FAILING)
    job_id = await bench.submit("a")
    async with bench.working():
        async with asyncio.timeout(PATIENCE):
            while caplog.text.count("no room") < 3:
                await asyncio.sleep(0.02)
        assert counters(bench.settings, job_id)[1] == 0
        query(bench.settings, "DROP TRIGGER fail ON cache_jobs")
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", 50, 0, 500, 0)
    failures = [it.levelname for it in caplog.records if "no room" in it.message]
    assert failures == ["WARNING"] + ["DEBUG"] * (len(failures) - 1)


async def test_a_job_survives_connections_that_are_lost(bench: Bench) -> None:
    await bench.index({f"a/{number}": 10 for number in range(100)})
    source = GatedFiles(bench.mount, held="/a/5")
    job_id = await bench.submit("a")
    async with bench.working(source=source):
        await happens(source.waiting)
        query(
            bench.settings,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        source.gate.set()
        async with asyncio.timeout(PATIENCE):
            while not (await bench.store.get(job_id)).status.has_ended:
                await asyncio.sleep(0.02)
    assert counters(bench.settings, job_id) == ("completed", 100, 0, 1000, 0)
    assert item_states(bench.settings, job_id) == {"completed": 100}


async def test_a_job_survives_a_database_that_goes_away_and_comes_back(
    public_folder: Path, postgres_bin: Path | None, tmp_path: Path
) -> None:
    options = {name: value for name, value in WITHOUT_DURABILITY.items() if name != "fsync"}
    server = EmbeddedPostgres(
        public_folder / "data", database="db", user=ROLE, bin_dir=postgres_bin, options=options
    )
    with server:
        settings = make_settings(server, "db")
        await migrate(settings)
        async with open_bench(settings, tmp_path / "mount") as bench:
            await bench.index({f"a/{number}": 3 for number in range(1500)})
            source = GatedFiles(bench.mount, held="/a/7")
            job_id = await bench.submit("a")
            async with bench.working(source=source, settings={"worker_lease": 5}):
                await bench.watch(job_id, lambda job: job.progress.completed_files > 50)
                await happens(source.waiting)
                await asyncio.to_thread(server.stop)
                read = len(source.closed)
                source.gate.set()
                async with asyncio.timeout(30):
                    # What was claimed goes on being read without a database.
                    while len(source.closed) <= read:
                        await asyncio.sleep(0.02)
                await asyncio.to_thread(server.start)
                assert (server.host, server.port) == (settings.db_host, settings.db_port)
                while True:
                    job = await bench.store.get(job_id)
                    if job.status.has_ended:
                        break
                    await asyncio.sleep(0.1)
            assert job.status is JobStatus.COMPLETED
            assert counters(settings, job_id) == ("completed", 1500, 0, 4500, 0)
            assert item_states(settings, job_id) == {"completed": 1500}
