"""A worker on a real tree and a real database: what it reads, counts, marks and stops."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.job import Job, JobStatus
from gateway.worker.readers.file_source import PosixFiles
from support.superpowers import powerless
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
)

MIB = 1024 * 1024


def cached(bench: Bench) -> dict[str, bool]:
    rows = query(bench.settings, "SELECT path, cached FROM files")
    return {row.path.removeprefix(str(bench.mount)): row.cached for row in rows}


# A good day


async def test_a_job_is_read_to_its_end_and_counted_exactly(bench: Bench) -> None:
    await bench.index({"a/one.mov": 3 * MIB, "a/b/two.exr": 1000, "a/empty.txt": 0, "c/no": 7})
    job_id = await bench.submit("a")
    async with bench.working():
        job = await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", 3, 0, 3 * MIB + 1000, 0)
    assert item_states(bench.settings, job_id) == {"completed": 3}
    assert job.error is None
    assert job.started_at
    assert job.completed_at
    assert job.created_at <= job.started_at <= job.completed_at
    items = query(bench.settings, "SELECT * FROM cache_job_items")
    assert all(item.started_at and item.completed_at and item.worker_id for item in items)
    assert all(item.bytes_read == item.file_size_bytes for item in items)


async def test_what_was_read_is_marked_as_cached_with_its_job(bench: Bench) -> None:
    await bench.index({"a/one.mov": 1000, "b/not_asked_for.mov": 1000})
    job_id = await bench.submit("a")
    async with bench.working():
        await bench.end_of(job_id)
    [row] = query(bench.settings, "SELECT * FROM files WHERE cached AND NOT is_directory")
    assert (row.name, row.cache_job_id) == ("one.mov", job_id)
    assert row.cached_at is not None


async def test_a_job_submitted_while_the_worker_idles_is_taken_up_when_it_is_announced(
    bench: Bench,
) -> None:
    await bench.index({"a/one.mov": 1000})
    async with bench.working(timers=replace(QUICK, idle=3600, nothing=3600)):
        await bench.end_of(await bench.submit("a"))
        await bench.end_of(await bench.submit("a"))


async def test_directories_are_marked_when_all_their_files_are(bench: Bench) -> None:
    await bench.index(
        {"a/b/c/one": 1, "a/b/two": 1, "a/hollow/": 0, "a/hollow/more/": 0, "d/three": 1}
    )
    job_id = await bench.submit("a")
    async with bench.working():
        await bench.end_of(job_id)
    marks = cached(bench)
    assert marks["/a"]
    assert marks["/a/b"]
    assert marks["/a/b/c"]
    assert not marks["/d"]
    assert not marks.get("")


async def test_two_jobs_together_mark_the_directory_that_holds_both(bench: Bench) -> None:
    await bench.index({"a/b/one": 1, "a/c/two": 1})
    async with bench.working():
        await bench.end_of(await bench.submit("a/b"))
    assert not cached(bench)["/a"]
    async with bench.working():
        await bench.end_of(await bench.submit("a/c"))
    assert cached(bench)["/a"]


# Files that cannot be read


async def test_a_failed_file_fails_alone_and_keeps_its_ancestors_unmarked(bench: Bench) -> None:
    await bench.index({"a/b/gone": 10, "a/b/stays": 20, "a/c/other": 40})
    (bench.mount / "a/b/gone").unlink()
    job_id = await bench.submit("a")
    async with bench.working():
        job = await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", 2, 1, 60, 10)
    gone = f"{bench.mount}/a/b/gone"
    assert job.error == f"1 of 3 files failed, the first: {gone}: No such file or directory"
    assert job.progress.percentage == 100
    marks = cached(bench)
    assert (marks["/a/b/gone"], marks["/a/b/stays"]) == (False, True)
    assert (marks["/a"], marks["/a/b"], marks["/a/c"]) == (False, False, True)


async def test_each_file_that_cannot_be_read_says_why(bench: Bench, tmp_path: Path) -> None:
    await bench.index({"a/good": 5})
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    (bench.mount / "a/link").symlink_to(outside)
    (bench.mount / "a/loop").symlink_to("loop")
    os.mkfifo(bench.mount / "a/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(bench.mount / "a/socket"))
    names = ["link", "loop", "fifo", "socket", "gone", "good/below", "x" * 300]
    job_id = await bench.submit("a", files=[f"a/{name}" for name in names], size=3)
    async with bench.working():
        job = await bench.end_of(job_id)
    rows = query(
        bench.settings, "SELECT file_path, error_message FROM cache_job_items WHERE status='failed'"
    )
    assert {row.file_path.partition("/a/")[2]: row.error_message for row in rows} == {
        "link": "Leads out of the filespace",
        "loop": "Too many levels of symbolic links",
        "fifo": "Not a regular file",
        "socket": "Not a regular file",
        "gone": "No such file or directory",
        "good/below": "Not a directory",
        "x" * 300: "File name too long",
    }
    assert counters(bench.settings, job_id) == ("completed", 1, 7, 5, 21)
    assert job.error
    assert job.error.startswith(f"7 of 8 files failed, the first: {bench.mount}/a/")


async def test_a_file_that_we_may_not_read_fails_with_that_reason(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PosixFiles, "open", powerless(PosixFiles.open))
    await bench.index({"a/locked": 5})
    (bench.mount / "a/locked").chmod(0)
    job_id = await bench.submit("a")
    async with bench.working():
        await bench.end_of(job_id)
    [item] = query(bench.settings, "SELECT error_message FROM cache_job_items")
    assert item.error_message == "Permission denied"


async def test_a_job_of_which_no_file_can_be_read_has_failed(bench: Bench) -> None:
    job_id = await bench.submit(files=["gone", "away"], size=8)
    async with bench.working():
        job = await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("failed", 0, 2, 0, 16)
    gone = f"{bench.mount}/gone"
    assert job.error == f"2 of 2 files failed, the first: {gone}: No such file or directory"
    assert job.progress.percentage == 100


async def test_a_file_that_shrank_and_one_that_grew_count_as_planned(bench: Bench) -> None:
    await bench.index({"a/shrinks": 4 * MIB, "a/grows": MIB})
    os.truncate(bench.mount / "a/shrinks", 10)
    os.truncate(bench.mount / "a/grows", 5 * MIB)
    job_id = await bench.submit("a")
    async with bench.working():
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", 2, 0, 5 * MIB, 0)


async def test_a_read_that_fails_half_way_takes_its_bytes_back_without_a_fall(
    bench: Bench,
) -> None:
    class Breaking(GatedFiles):
        def read(self, descriptor, buffers, offset, /):  # type: ignore[no-untyped-def]
            if self.gate.is_set():
                raise OSError(5, "Input/output error")
            self.waiting.wait(0.02)
            return os.preadv(descriptor, buffers, offset)

    await bench.index({"a/large": 4096 * 1000})
    source = Breaking(bench.mount)
    seen: list[Job] = []
    job_id = await bench.submit("a")
    async with bench.working(source=source, settings={"worker_chunk_size": 4096}):
        await bench.watch(job_id, lambda job: ended_bytes(job) > 0, seen)
        source.gate.set()
        await bench.end_of(job_id, seen)
    assert counters(bench.settings, job_id) == ("failed", 0, 1, 0, 4096 * 1000)
    assert_never_falls(seen)


async def test_a_read_that_gets_no_byte_fails_and_holds_up_nobody(bench: Bench) -> None:
    await bench.index({"a/hangs": 10, "a/reads": 10})
    source = GatedFiles(bench.mount, held="hangs")
    job_id = await bench.submit("a")
    changes = {"worker_read_timeout": 0.5, "worker_concurrency": 1}
    async with bench.working(source=source, settings=changes):
        await bench.end_of(job_id)
    source.gate.set()
    [item] = query(bench.settings, "SELECT * FROM cache_job_items WHERE status = 'failed'")
    assert item.error_message == "No data for 0.5 seconds"
    assert counters(bench.settings, job_id) == ("completed", 1, 1, 10, 10)


# Progress


async def test_bytes_move_while_a_large_file_is_read(bench: Bench) -> None:
    await bench.index({"a/large.mov": 64 * MIB})
    source = GatedFiles(bench.mount, held="large", after=24 * MIB)
    seen: list[Job] = []
    job_id = await bench.submit("a")
    async with bench.working(source=source):
        job = await bench.watch(job_id, lambda job: ended_bytes(job) >= 24 * MIB, seen)
        assert job.progress.completed_bytes == 24 * MIB
        assert (job.progress.completed_files, job.progress.size_percentage) == (0, 37)
        source.gate.set()
        await bench.end_of(job_id, seen)
    assert counters(bench.settings, job_id) == ("completed", 1, 0, 64 * MIB, 0)
    assert_never_falls(seen)


@pytest.mark.parametrize("workers", [2, 3])
async def test_workers_that_share_a_job_read_each_file_once(bench: Bench, workers: int) -> None:
    sizes = {f"a/{number % 7}/{number}": 100 + number for number in range(2000)}
    await bench.index(sizes)
    sources = [GatedFiles(bench.mount, held="/a/") for _ in range(workers)]
    seen: list[Job] = []
    job_id = await bench.submit("a")
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(bench.end_of(job_id, seen))

        async def work(source: GatedFiles) -> None:
            async with bench.working(source=source):
                await asyncio.wait({watch})

        for source in sources:
            group.create_task(work(source))
        for source in sources:
            await happens(source.waiting)
        for source in sources:
            source.gate.set()
    assert counters(bench.settings, job_id) == ("completed", 2000, 0, sum(sizes.values()), 0)
    read = [path for source in sources for path in source.closed]
    assert len(read) == len(set(read)) == 2000
    assert_never_falls(seen)


async def test_a_small_job_does_not_wait_for_a_huge_one(bench: Bench) -> None:
    await bench.index({f"huge/{number}": 1 for number in range(3000)} | {"small/one": 1})
    source = GatedFiles(bench.mount, held="/huge/1")
    huge = await bench.submit("huge")
    async with bench.working(source=source, settings={"worker_concurrency": 2}):
        await happens(source.waiting)
        small = await bench.submit("small")
        source.gate.set()
        await bench.end_of(small)
        assert (await bench.store.get(huge)).progress.completed_files < 3000
        await bench.end_of(huge)


async def test_hardly_any_large_file_is_claimed_before_a_reader_is_free(bench: Bench) -> None:
    await bench.index({f"large/{number}": 10 for number in range(40)})
    source = GatedFiles(bench.mount, held="/large/")
    large = await bench.submit("large")
    async with bench.working(source=source, settings={"worker_concurrency": 4}):
        await happens(source.waiting)
        await bench.watch(large, lambda job: job.status is JobStatus.RUNNING)
        assert item_states(bench.settings, large)["running"] <= 4 + 2
        source.gate.set()
        await bench.end_of(large)


async def test_jobs_that_nobody_ends_do_not_keep_newer_ones_from_their_turn(
    bench: Bench,
) -> None:
    """Their last items are in the hands of a backend's worker that died."""
    query(
        bench.settings,
        "INSERT INTO cache_jobs (id, status, file_paths, total_files, created_at)"
        " SELECT gen_random_uuid(), 'running', '{}', 1, now() - interval '1 day'"
        " FROM generate_series(1, 200)",
    )
    query(
        bench.settings,
        "INSERT INTO cache_job_items (job_id, file_path, status, worker_id)"
        " SELECT id, '/media/x', 'running', 'backend-7' FROM cache_jobs",
    )
    await bench.index({"a/one": 1})
    job_id = await bench.submit("a")
    async with bench.working():
        await bench.end_of(job_id)
    [row] = query(
        bench.settings,
        "SELECT count(*) AS n FROM cache_job_items"
        " WHERE worker_id = 'backend-7' AND status = 'running'",
    )
    assert row.n == 200


async def test_a_job_that_has_nothing_left_and_did_not_notice_is_ended(bench: Bench) -> None:
    await bench.index({"a/one": 5, "a/two": 6})
    job_id = await bench.submit("a")
    query(bench.settings, "UPDATE cache_job_items SET status='completed', worker_id='backend'")
    query(bench.settings, "UPDATE cache_jobs SET status='running', completed_files=1")
    async with bench.working(timers=replace(QUICK, housekeeping=0.05, idle=0.05)):
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", 2, 0, 11, 0)
