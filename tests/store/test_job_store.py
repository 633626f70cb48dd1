"""Jobs in a real database: created whole, counted exactly, cancelled for good."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from gateway.database import Database
from gateway.errors import JobEnded, JobNotFound, NoFilesFound
from gateway.job import CreatedJob, JobStatus
from gateway.jobs import store as job_store
from gateway.jobs.store import MAX_CONCURRENT_SUMS, JobRequest, JobStore
from gateway.settings import Settings
from support.job_lists import ROOT, Query, create_listed, listed
from support.manager_schema import connect_as, run_as
from support.worker_kit import BLOCKED, PATIENCE, until_blocked

# The manager's own table allows NULL there.
FOLDERS = """
ALTER TABLE files ALTER is_directory DROP NOT NULL;
INSERT INTO files (path, name, parent_path, is_directory, size)
SELECT path, regexp_replace(path, '.*/', ''), regexp_replace(path, '/[^/]*$', ''), dir, size
FROM (VALUES
    ('{0}/a', true, 0), ('{0}/a/1.mov', false, 10), ('{0}/a/2.mov', false, 20),
    ('{0}/a/sub', true, 0), ('{0}/a/sub/3.mov', false, 300),
    ('{0}/a/sub/unsized.mov', false, NULL), ('{0}/a/sub/undecided', NULL, 7),
    ('{0}/ab/4.mov', false, 4000), ('{0}/a.mov', false, 1), ('{0}/a0', false, 2),
    ('{0}/_%', true, 0), ('{0}/_%/5.mov', false, 5), ('{0}/xy/6.mov', false, 6)
) AS f (path, dir, size)
"""
EVERYTHING = (
    "SELECT status, completed_files, failed_files, completed_size_bytes, worker_id, started_at,"
    " completed_at, error_message, total_files, file_paths FROM cache_jobs WHERE id = '{}'"
)


@pytest.fixture
def query(database_settings: Settings) -> Query:
    """Run statements on a connection of its own, and return the last one's rows."""
    return lambda *statements: run_as(database_settings, database_settings.db_user, *statements)


@pytest.fixture
async def database(database_settings: Settings) -> AsyncIterator[Database]:
    async with Database(database_settings) as opened:
        yield opened


@pytest.fixture
def store(database: Database, query: Query) -> JobStore:
    query(FOLDERS.format(ROOT))
    return JobStore(database, 60)


def paths_of(query: Query, job: CreatedJob) -> list[str]:
    rows = query(f"SELECT file_path FROM cache_job_items WHERE job_id = '{job.id}' ORDER BY 1")
    return [path.removeprefix(f"{ROOT}/") for (path,) in rows]


async def test_a_tree_holds_everything_below_it_and_nothing_beside_it(
    store: JobStore, query: Query
) -> None:
    job = await store.create(JobRequest(listed_directories=[f"{ROOT}/a"], trees=[f"{ROOT}/a"]))
    below = ["a/1.mov", "a/2.mov", "a/sub/3.mov", "a/sub/undecided", "a/sub/unsized.mov"]
    assert paths_of(query, job) == below
    assert (job.status, job.total_files, job.total_bytes) == (JobStatus.PENDING, 5, 337)


async def test_a_folder_holds_its_own_files_only(store: JobStore, query: Query) -> None:
    job = await store.create(JobRequest(folders=[f"{ROOT}/a"]))
    assert paths_of(query, job) == ["a/1.mov", "a/2.mov"]
    assert (job.total_files, job.total_bytes) == (2, 30)


async def test_wildcards_in_names_mean_themselves(store: JobStore, query: Query) -> None:
    trees = await store.create(JobRequest(trees=[f"{ROOT}/_%"]))
    folders = await store.create(JobRequest(folders=[f"{ROOT}/_%"]))
    assert paths_of(query, trees) == paths_of(query, folders) == ["_%/5.mov"]


async def test_listed_files_keep_their_sizes_and_only_they_are_stored(
    store: JobStore, query: Query
) -> None:
    odd = [f'{ROOT}/"q" {{x}},\\y', f"{ROOT}/NULL", f"{ROOT}/日本 100%s"]
    request = JobRequest(
        listed_files=odd,
        listed_directories=[f"{ROOT}/a"],
        paths=odd,
        sizes=[1, 2**40, 0],
        trees=[f"{ROOT}/a"],
    )
    job = await store.create(request)
    assert (job.total_files, job.total_bytes) == (8, 337 + 2**40 + 1)
    [kept] = query(f"SELECT file_paths, directory_paths FROM cache_jobs WHERE id = '{job.id}'")
    assert kept == (odd, [f"{ROOT}/a"])
    items = query(
        "SELECT file_path, file_size_bytes, status FROM cache_job_items"
        f" WHERE job_id = '{job.id}' AND file_path = ANY(ARRAY['{odd[1]}', '{odd[2]}']) ORDER BY 2"
    )
    assert items == [(odd[2], 0, "pending"), (odd[1], 2**40, "pending")]


async def test_a_listed_file_that_became_indexed_meanwhile_counts_once(
    store: JobStore, query: Query
) -> None:
    job = await store.create(
        JobRequest(trees=[f"{ROOT}/a"], maybe={f"{ROOT}/a/1.mov": 10, f"{ROOT}/a/new.mov": 3})
    )
    assert paths_of(query, job).count("a/1.mov") == 1
    assert (job.total_files, job.total_bytes) == (6, 340)


async def test_nothing_is_created_where_there_is_no_file(store: JobStore, query: Query) -> None:
    for request in (
        JobRequest(),
        JobRequest(trees=[f"{ROOT}/nothing"]),
        JobRequest(folders=[f"{ROOT}/nothing"], listed_directories=[f"{ROOT}/nothing"]),
    ):
        with pytest.raises(NoFilesFound):
            await store.create(request)
    assert query("SELECT count(*) FROM cache_jobs, cache_job_items") == [(0,)]


async def test_a_create_that_is_cut_off_leaves_nothing(
    store: JobStore, query: Query, database_settings: Settings
) -> None:
    with closing(connect_as(database_settings, database_settings.db_user)) as busy:
        busy.autocommit = False
        busy.cursor().execute("LOCK TABLE cache_jobs IN SHARE MODE")
        task = asyncio.create_task(create_listed(store))
        await until_blocked(database_settings)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while query(BLOCKED):
            await asyncio.sleep(0.01)
    assert query("SELECT (SELECT count(*) FROM cache_jobs), count(*) FROM cache_job_items") == [
        (0, 0)
    ]


async def test_twenty_jobs_of_the_same_directories_hold_nobody_up(
    store: JobStore, query: Query, database_settings: Settings
) -> None:
    with closing(connect_as(database_settings, database_settings.db_user)) as slow:
        slow.autocommit = False
        cursor = slow.cursor()
        cursor.execute("INSERT INTO cache_jobs (file_paths) VALUES ('{}') RETURNING id")
        cursor.execute(
            "INSERT INTO cache_job_items (job_id, file_path)"
            f" SELECT '{cursor.fetchone()[0]}', path FROM files WHERE path LIKE '{ROOT}/a%'"
        )
        async with asyncio.timeout(30):
            jobs = await asyncio.gather(
                *(
                    store.create(JobRequest(trees=[f"{ROOT}/a"] if n % 2 else [ROOT]))
                    for n in range(20)
                )
            )
        slow.rollback()
    assert len({job.id for job in jobs}) == 20
    assert {job.total_files for job in jobs} == {5, 10}
    mismatched = (
        "SELECT count(*) FROM cache_jobs j WHERE (total_files, total_size_bytes) <>"
        " (SELECT count(*), sum(file_size_bytes) FROM cache_job_items WHERE job_id = j.id)"
    )
    assert query(mismatched) == [(0,)]


async def test_nobody_ever_sees_a_job_without_all_its_items(
    store: JobStore, database: Database
) -> None:
    partial = (
        "SELECT count(*) AS jobs, count(*) FILTER (WHERE total_files IS DISTINCT FROM"
        " (SELECT count(*) FROM cache_job_items i WHERE i.job_id = j.id)) AS partial"
        " FROM cache_jobs j"
    )
    seen: set[int] = set()
    created = asyncio.Event()

    async def watch() -> None:
        while not created.is_set():
            row = await database.fetch_one(partial)
            assert row.partial == 0
            seen.add(row.jobs)

    watching = asyncio.create_task(watch())
    for count in range(1, 60):
        await create_listed(store, count * 7)
    created.set()
    await watching
    assert len(seen) > 3


async def test_a_job_is_read_back_and_an_unknown_one_is_not_found(store: JobStore) -> None:
    created = await create_listed(store)
    job = await store.get(created.id)
    assert (job.id, job.status, job.created_at) == (
        created.id,
        JobStatus.PENDING,
        created.created_at,
    )
    assert (job.progress.total_files, job.progress.total_bytes) == (3, 15)
    assert (job.started_at, job.completed_at, job.error, job.worker_id) == (None,) * 4
    for missing in (store.get(str(uuid.uuid4())), store.cancel(str(uuid.uuid4()))):
        with pytest.raises(JobNotFound):
            await missing


@pytest.mark.parametrize("status", ["pending", "running", "paused"])
async def test_an_active_job_is_cancelled_once(store: JobStore, query: Query, status: str) -> None:
    job = await create_listed(store)
    query(f"UPDATE cache_jobs SET status = '{status}' WHERE id = '{job.id}'")
    await store.cancel(job.id)
    cancelled = await store.get(job.id)
    assert cancelled.status is JobStatus.CANCELLED
    assert cancelled.completed_at is not None
    with pytest.raises(JobEnded) as caught:
        await store.cancel(job.id)
    assert caught.value.details == {"status": "cancelled"}
    assert (await store.get(job.id)).completed_at == cancelled.completed_at


@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_a_job_that_ended_is_not_cancelled(
    store: JobStore, query: Query, status: str
) -> None:
    job = await create_listed(store)
    query(f"UPDATE cache_jobs SET status = '{status}' WHERE id = '{job.id}'")
    with pytest.raises(JobEnded) as caught:
        await store.cancel(job.id)
    assert caught.value.details == {"status": status}
    assert (await store.get(job.id)).status == status


@pytest.mark.parametrize(
    "change",
    [
        "status = 'running', worker_id = 'w', started_at = now()",
        "status = 'completed', completed_files = 3, completed_at = now()",
        "completed_size_bytes = 15, failed_size_bytes = 1",
        "completed_files = completed_files + 1, failed_files = 2",
        "status = 'failed', error_message = 'no'",
        "status = 'cancelled', completed_at = NULL",
        "total_files = 0, file_paths = '{}'",
    ],
)
async def test_whatever_the_backend_writes_a_cancelled_job_stays_as_it_is(
    store: JobStore, query: Query, change: str
) -> None:
    job = await create_listed(store)
    await store.cancel(job.id)
    before = query(EVERYTHING.format(job.id))
    # It believes that it has changed the row: it shall not fail.
    changed = query(f"UPDATE cache_jobs SET {change} WHERE id = '{job.id}' RETURNING status")
    assert changed == [("cancelled",)]
    assert query(EVERYTHING.format(job.id)) == before


async def test_an_explicit_return_to_pending_revives_a_cancelled_job(
    store: JobStore, query: Query
) -> None:
    job = await create_listed(store)
    await store.cancel(job.id)
    query(f"UPDATE cache_jobs SET status = 'pending', completed_at = NULL WHERE id = '{job.id}'")
    query(f"UPDATE cache_jobs SET status = 'running', completed_files = 1 WHERE id = '{job.id}'")
    revived = await store.get(job.id)
    assert (revived.status, revived.progress.completed_files) == (JobStatus.RUNNING, 1)
    assert await store.cancel_items(job.id) == 0


async def test_pending_items_follow_in_batches_and_others_stay(
    store: JobStore, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_store, "CANCEL_BATCH", 4)
    job, other = await create_listed(store, 23), await create_listed(store, 2)
    query(
        "UPDATE cache_job_items SET status = CASE id % 3 WHEN 0 THEN 'completed' ELSE 'running' END"
        f" WHERE job_id = '{job.id}' AND file_path LIKE '%/1_.mov'"
    )
    await store.cancel(job.id)
    assert await store.cancel_items(job.id) == 13
    assert await store.cancel_items(job.id) == 0
    assert await store.cancel_items(other.id) == 0
    states = "SELECT status, count(*) FROM cache_job_items WHERE job_id = '{}' GROUP BY 1"
    assert dict(query(states.format(job.id)))["cancelled"] == 13
    assert "pending" not in dict(query(states.format(job.id)))
    assert query(states.format(other.id)) == [("pending", 2)]


async def test_items_of_a_gateway_that_died_between_are_found(
    store: JobStore, query: Query
) -> None:
    left, done, running = [await create_listed(store) for _ in range(3)]
    await store.cancel(left.id)
    await store.cancel(done.id)
    await store.cancel_items(done.id)
    assert running.id not in await store.cancelled_with_pending_items()
    assert await store.cancelled_with_pending_items() == [left.id]
    await store.cancel_items(left.id)
    assert await store.cancelled_with_pending_items() == []


async def test_a_backend_that_keeps_no_sizes_is_summed_up(store: JobStore, query: Query) -> None:
    job = await create_listed(store, 4)
    query(
        f"UPDATE cache_jobs SET status = 'running', completed_files = 2, failed_files = 1"
        f" WHERE id = '{job.id}'",
        "UPDATE cache_job_items SET status = CASE WHEN file_path LIKE '%/0.mov' THEN 'failed'"
        f" WHEN file_path LIKE '%/3.mov' THEN 'running' ELSE 'completed' END"
        f" WHERE job_id = '{job.id}'",
    )
    progress = (await store.get(job.id)).progress
    assert (progress.completed_bytes, progress.failed_bytes, progress.total_bytes) == (10, 5, 20)
    [shown], _ = await listed(store)
    assert shown.progress == progress


async def test_rows_with_nothing_but_nulls_are_readable(store: JobStore, query: Query) -> None:
    query(
        "ALTER TABLE cache_jobs ALTER total_files DROP NOT NULL,"
        " ALTER completed_files DROP NOT NULL, ALTER failed_files DROP NOT NULL",
        "INSERT INTO cache_jobs (file_paths, total_files, completed_files, failed_files,"
        " total_size_bytes, completed_size_bytes, failed_size_bytes)"
        " VALUES ('{}', NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    [job], total = await listed(store)
    assert total == 1
    assert (job.progress.total_files, job.progress.total_bytes) == (0, 0)
    assert job.progress.percentage == 0
    assert await store.get(job.id) == job
    await store.cancel(job.id)
    assert (await store.get(job.id)).progress.percentage == 100


async def test_many_jobs_without_sizes_are_shown_while_their_items_cannot_be_summed_up(
    store: JobStore, query: Query, database_settings: Settings
) -> None:
    query(
        "INSERT INTO cache_jobs (status, file_paths, total_files, completed_files,"
        " total_size_bytes) SELECT 'running', '{}', 2, 1, 20 FROM generate_series(1, 1000)"
    )
    with closing(connect_as(database_settings, database_settings.db_user)) as busy:
        busy.autocommit = False
        busy.cursor().execute("LOCK TABLE cache_job_items")
        async with asyncio.timeout(PATIENCE):
            jobs = await store.newest(1000)
        assert [job.progress.completed_bytes for job in jobs] == [0] * 1000
        page = asyncio.create_task(listed(store, limit=100))
        await until_blocked(database_settings, MAX_CONCURRENT_SUMS)
        assert len(await store.newest(5)) == 5, "other statements find a connection"
        busy.rollback()
    assert len((await page)[0]) == 100
