"""Indexing concurrently with other indexers and workers, and with cancellations."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from gateway.index import listing
from gateway.index.indexer import IndexProgress
from support.indexer_tools import (
    connect,
    has_met_a_lock,
    paths_below,
    read_rows,
    until,
    until_threads_ended,
    write,
    written,
)


async def test_indexers_of_overlapping_folders_take_turns(index, settings, mount):
    for number in range(40):
        write(mount / f"{number % 4}" / f"{number}.mov")
    await asyncio.gather(index(), index(mount / "1"), index(), index(mount / "2"), index())
    assert len(paths_below(settings, mount)) == 44
    assert written(await index()) == (0, 0, 0)


@pytest.mark.parametrize("names", ["az", "za"])
async def test_an_indexer_and_a_worker_do_not_deadlock(index, settings, mount, names):
    first, last = (write(mount / name) for name in names)
    await index()
    write(first, "changed")
    write(last, "changed")
    cache = "UPDATE files SET cached = true WHERE path = %s"
    with connect(settings) as worker:
        worker.execute(cache, (str(last),))
        task = asyncio.create_task(index())
        await until(lambda: has_met_a_lock(settings))
        worker.execute("SET lock_timeout = '20s'")
        worker.execute(cache, (str(first),))
        assert not task.done()
        worker.connection.commit()
        result = await task
    assert result.changed in (2, 3)
    rows = read_rows(settings)
    assert {rows[str(p)].size for p in (first, last)} == {7}
    assert not any(rows[str(p)].cached for p in (first, last))


async def test_rows_that_another_program_inserts_are_no_conflict(index, settings, mount):
    write(mount / "a")
    with connect(settings) as other:
        insert = "INSERT INTO files (path, name, parent_path) VALUES (%s, 'a', %s)"
        other.execute(insert, (f"{mount}/a", str(mount)))
        task = asyncio.create_task(index())
        await until(lambda: has_met_a_lock(settings))
        other.connection.commit()
        await task
    await index()
    assert read_rows(settings)[f"{mount}/a"].size == 1


async def test_a_run_cancelled_while_writing_changes_nothing(index, settings, mount):
    write(mount / "a")
    write(mount / "b")
    await index()
    before = read_rows(settings)
    write(mount / "a", "changed")
    write(mount / "c")
    (mount / "b").unlink()
    with connect(settings) as other:
        other.execute("SELECT FROM files WHERE path = %s FOR UPDATE", (f"{mount}/a",))
        task = asyncio.create_task(index())
        await until(lambda: has_met_a_lock(settings))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_threads_ended()
    assert read_rows(settings) == before


async def test_a_run_cancelled_while_a_folder_hangs_ends_at_once(
    index, settings, mount, monkeypatch
):
    write(mount / "folder" / "a")
    hangs, goes_on = threading.Event(), threading.Event()
    scandir = os.scandir

    def hang(path: str) -> Any:
        if path == f"{mount}/folder":
            hangs.set()
            goes_on.wait()
        return scandir(path)

    monkeypatch.setattr(listing.os, "scandir", hang)
    task = asyncio.create_task(index())
    await until(hangs.is_set)
    threads = [t for t in threading.enumerate() if t.name.startswith("index")]
    assert len(threads) > 1 and all(thread.daemon for thread in threads)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert read_rows(settings) == {}
    # The next run does not wait for the folder either.
    write(mount / "other" / "b")
    assert (await index(mount / "other")).added == 2
    goes_on.set()
    await until_threads_ended()
    assert paths_below(settings, mount) == {"other", "other/b"}


async def test_an_error_in_a_scanning_thread_ends_the_run(index, settings, mount, monkeypatch):
    write(mount / "folder" / "a")
    scandir = os.scandir

    def fail(path: str) -> Any:
        if path == f"{mount}/folder":
            raise MemoryError
        return scandir(path)

    monkeypatch.setattr(listing.os, "scandir", fail)
    with pytest.raises(MemoryError):
        await index()
    assert read_rows(settings) == {}


async def test_progress_counts_scanned_entries(index, mount):
    for number in range(10):
        write(mount / "folder" / str(number))
    progress = IndexProgress()
    assert (progress.entries, progress.phase) == (0, "waiting")
    await index(progress=progress)
    assert (progress.entries, progress.phase) == (12, "done")
