"""A worker of several filespaces: what befalls one of them is no matter to the files of others."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.job import Job
from gateway.settings import Settings
from gateway.settings.filespace_settings import FilespaceSettings
from gateway.worker import item_store
from gateway.worker.item_store import ItemStore
from gateway.worker.readable_items import AGAIN_SECONDS, ReadableItems
from support.worker_kit import (
    QUICK,
    Bench,
    GatedFiles,
    counters,
    item_states,
    open_bench,
    query,
    write_tree,
)


@pytest.fixture
def east(tmp_path: Path) -> Path:
    return tmp_path.resolve() / "east"


@pytest.fixture
def west(tmp_path: Path) -> Path:
    # One name begins with the other: a path below this one is not below that one.
    return tmp_path.resolve() / "east-west"


@pytest.fixture
async def bench(database_settings: Settings, east: Path, west: Path) -> AsyncIterator[Bench]:
    listed = tuple(FilespaceSettings(name=it.name, mount_point=str(it)) for it in (east, west))
    for root in (east, west):
        write_tree(root, {f"same/{number}": 10 + number for number in range(30)})
    async with open_bench(database_settings, east, filespaces=listed) as bench:
        yield bench


def names(root: Path, count: int = 30) -> list[str]:
    return [f"{root}/same/{number}" for number in range(count)]


def states_below(settings: Settings, root: Path) -> set[str]:
    statement = "SELECT DISTINCT status FROM cache_job_items WHERE starts_with(file_path, %s)"
    return {row.status for row in query(settings, statement, f"{root}/")}


async def test_files_of_all_filespaces_are_read(bench: Bench, east: Path, west: Path) -> None:
    job_id = await bench.submit(files=[*names(east), *names(west)], size=10)
    async with bench.working():
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", 60, 0, 600, 0)


@pytest.mark.parametrize("is_first", [True, False])
async def test_while_one_mount_is_gone_the_files_of_the_other_are_read_and_none_fails(
    bench: Bench, east: Path, west: Path, is_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if there were thousands of them.
    monkeypatch.setattr(item_store, "ITEMS_PER_WINDOW", 7)
    gone, there = (east, west) if is_first else (west, east)
    away = gone.with_name("away")
    gone.rename(away)
    job_id = await bench.submit(files=[*names(gone), *names(there)], size=10)
    other_id = await bench.submit(files=names(there, 3), size=10)

    def is_half_done(job: Job) -> bool:
        return job.progress.completed_files == 30

    async with bench.working(settings={"worker_concurrency": 2}):
        await bench.watch(job_id, is_half_done)
        assert states_below(bench.settings, there) == {"completed"}
        states = item_states(bench.settings, job_id)
        assert (states["completed"], states["running"] + states["pending"]) == (30, 30)
        # Of what cannot be read the worker took no more than before it knew.
        assert states["running"] <= 4
        assert (await bench.store.get(other_id)).status.has_ended
        away.rename(gone)
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", 60, 0, 600, 0)


async def test_a_job_that_was_only_of_the_gone_mount_is_read_when_it_is_back(
    bench: Bench, east: Path, west: Path
) -> None:
    west.rename(away := west.with_name("away"))
    waiting = await bench.submit(files=names(west), size=10)
    async with bench.working(settings={"worker_concurrency": 2}):
        for _ in range(3):
            other = await bench.submit(files=names(east), size=10)
            await bench.end_of(other)
        assert counters(bench.settings, waiting)[1:3] == (0, 0)
        away.rename(west)
        await bench.end_of(waiting)
    assert counters(bench.settings, waiting) == ("completed", 30, 0, 300, 0)


async def test_a_mount_that_hangs_takes_no_reader_from_the_others(
    bench: Bench, east: Path, west: Path
) -> None:
    source = GatedFiles(bench.mount.parent, held=f"{east}/")
    job_id = await bench.submit(files=[*names(east), *names(west)], size=10)
    timers = replace(QUICK, stuck=0.1)
    async with bench.working(settings={"worker_concurrency": 2}, source=source, timers=timers):
        await bench.watch(job_id, lambda job: job.progress.completed_files == 30)
        assert states_below(bench.settings, west) == {"completed"}
        source.gate.set()
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id)[:3] == ("completed", 60, 0)


async def test_a_link_from_one_filespace_into_another_leads_out(
    bench: Bench, east: Path, west: Path
) -> None:
    (east / "link").symlink_to(west / "same/1")
    (west / "folder").symlink_to(east / "same")
    os.symlink(west, west / "itself")
    links = [f"{east}/link", f"{west}/folder/1", f"{east}/../{west.name}/same/1"]
    job_id = await bench.submit(files=[*links, f"{west}/itself/same/2"], size=10)
    async with bench.working():
        await bench.end_of(job_id)
    rows = query(bench.settings, "SELECT file_path, error_message FROM cache_job_items")
    failed = {row.file_path: row.error_message for row in rows if row.error_message}
    assert failed == dict.fromkeys(links, "Leads out of the filespace")


async def test_a_path_below_no_filespace_fails_alone(bench: Bench, east: Path) -> None:
    outside = east.with_name("east-other") / "file"
    write_tree(outside.parent, {"file": 1})
    job_id = await bench.submit(files=[str(outside), *names(east, 2)], size=1)
    async with bench.working():
        job = await bench.end_of(job_id)
    assert counters(bench.settings, job_id)[:3] == ("completed", 2, 1)
    assert job.error == f"1 of 3 files failed, the first: {outside}: Leads out of the filespace"


async def test_what_was_passed_is_not_looked_at_again_before_its_time(
    bench: Bench, east: Path, west: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_store, "ITEMS_PER_WINDOW", 20)
    items, now = ItemStore(bench.database, 60), [0.0]
    await items.take_lease()
    readable = ReadableItems(items, [str(east), str(west)], clock=lambda: now[0])
    job_id = await bench.submit(files=[*names(east), *names(west, 4)])

    async def rounds(count: int) -> list[tuple[int, bool, int]]:
        seen = []
        for _ in range(count):
            readable.begin_round([str(west)])
            claimed = await readable.claim(job_id, 3)
            seen.append((len(claimed), readable.has_more, len(await readable.active_jobs())))
        return seen

    assert await rounds(3) == [(0, True, 1), (3, False, 1), (1, False, 0)]
    await items.reclaim_orphans([])
    assert await rounds(1) == [(0, False, 0)]
    now[0] = AGAIN_SECONDS
    assert await rounds(2) == [(0, True, 1), (3, False, 1)]
    # The moment that all are there everything is claimed.
    readable.begin_round([str(east), str(west)])
    assert readable.are_all
    assert len(await readable.claim(job_id, 100)) == 31
