"""Inspecting paths on a mount that answers, hangs, and recovers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.mount import mount as mount_module
from gateway.mount.mount import MAX_CONCURRENT_STATS, Mount
from gateway.mount.path_status import PathInspector, PathKind, PathStatus

UNTIL_SECONDS = 30


class Hanging:
    """A `PathInspector` whose paths that begin with ``/hung`` hang until released."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.inspected: list[str] = []
        self.inspector = PathInspector(["/"])

    def inspect(self, path: str) -> PathStatus:
        self.inspected.append(path)
        if path.startswith("/hung"):
            self.go_on.wait(UNTIL_SECONDS)
            return PathStatus(PathKind.FILE, 1)
        return self.inspector.inspect(path)

    async def until_all_inspect(self, mount: Mount) -> None:
        """Wait until every taken path is being inspected."""
        async with asyncio.timeout(UNTIL_SECONDS):
            while len(self.inspected) < mount._stuck:
                await asyncio.sleep(0.001)
        assert len(self.inspected) == mount._stuck


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    """A mount that hangs in part; the time limit is 0.1 s."""
    hanging = Hanging()
    monkeypatch.setattr(mount_module, "PathInspector", lambda *folders: hanging)
    monkeypatch.setattr(mount_module, "STATS_SECONDS", 0.1)
    yield hanging
    hanging.go_on.set()


def hung(count: int) -> list[str]:
    return [f"/hung/{number}" for number in range(count)]


async def hang_every_thread(mount: Mount, hanging: Hanging) -> None:
    async with asyncio.timeout(UNTIL_SECONDS):
        while len(hanging.inspected) < MAX_CONCURRENT_STATS:
            await mount.stat_all(hung(MAX_CONCURRENT_STATS - len(hanging.inspected)))


async def test_statuses_are_in_the_order_of_the_paths(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 7)
    (tmp_path / "folder").mkdir()
    mount = Mount([str(tmp_path)])
    paths = [f"{tmp_path}/{name}" for name in ("file", "no", "folder", "file/no", "nul\0", "file")]
    assert await mount.stat_all(paths) == [
        PathStatus(PathKind.FILE, 7),
        PathStatus(PathKind.MISSING),
        PathStatus(PathKind.DIRECTORY),
        PathStatus(PathKind.MISSING),
        PathStatus(PathKind.UNKNOWN),
        PathStatus(PathKind.FILE, 7),
    ]
    assert await mount.stat_all([]) == []


async def test_a_non_empty_mount_point_counts_as_mounted(tmp_path: Path) -> None:
    assert not await Mount([str(tmp_path)]).mounted()
    assert not await Mount([str(tmp_path / "no")]).mounted()
    (tmp_path / "file").touch()
    assert await Mount([str(tmp_path)]).mounted() == {str(tmp_path)}


async def test_missing_paths_are_unknown_on_an_unavailable_mount(tmp_path: Path) -> None:
    here, away = str(tmp_path / "here"), str(tmp_path / "here too")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/file").touch()
    mount = Mount([here, away])
    paths = [f"{here}/no", f"{away}/no", f"{here}/file", away, f"{tmp_path}/outside"]
    kinds = [PathKind.MISSING, PathKind.UNKNOWN, PathKind.FILE, PathKind.UNKNOWN, PathKind.MISSING]
    assert [it.kind for it in await mount.stat_all(paths)] == kinds
    assert await mount.mounted() == {here}
    (tmp_path / "here too").mkdir()
    (tmp_path / "here too/file").touch()
    kinds[1], kinds[3] = PathKind.MISSING, PathKind.DIRECTORY
    assert [it.kind for it in await mount.stat_all(paths)] == kinds


async def test_inspecting_many_paths_does_not_block_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount_module, "STATS_SECONDS", UNTIL_SECONDS)
    turns = 0
    looking = asyncio.create_task(Mount(["/"]).stat_all([str(tmp_path / "no")] * 50_000))
    while not looking.done():
        await asyncio.sleep(0)
        turns += 1
    assert set(await looking) == {PathStatus(PathKind.MISSING)}
    assert turns > 100


async def test_hanging_paths_are_unknown_and_others_are_reported(
    hanging: Hanging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine its thread may need longer than 0.1 s.
    monkeypatch.setattr(mount_module, "STATS_SECONDS", 2.0)
    seen = await Mount(["/"]).stat_all([*hung(5), str(tmp_path)])
    assert seen == [PathStatus(PathKind.UNKNOWN)] * 5 + [PathStatus(PathKind.DIRECTORY)]


def stat_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "mount-stat"}


async def test_hanging_paths_are_inspected_concurrently_in_daemon_threads(
    hanging: Hanging,
) -> None:
    before = stat_threads()
    await hang_every_thread(Mount(["/"]), hanging)
    threads = stat_threads() - before
    assert len(threads) == MAX_CONCURRENT_STATS
    assert all(thread.daemon for thread in threads)


async def test_no_batch_is_accepted_while_every_thread_hangs(
    hanging: Hanging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = Mount([str(tmp_path)])
    await hang_every_thread(mount, hanging)
    monkeypatch.setattr(mount_module, "STATS_SECONDS", 3600.0)
    async with asyncio.timeout(UNTIL_SECONDS):
        for _ in range(100):
            assert await mount.stat_all(hung(1000)) == [PathStatus(PathKind.UNKNOWN)] * 1000
        assert not await mount.mounted()
    assert len(hanging.inspected) == MAX_CONCURRENT_STATS
    assert not mount._batches


async def test_abandoned_paths_are_dropped(hanging: Hanging) -> None:
    mount = Mount(["/"])
    await mount.stat_all(hung(MAX_CONCURRENT_STATS - 1))
    await mount.stat_all(hung(10_000))
    await hanging.until_all_inspect(mount)
    count = len(hanging.inspected)
    assert count <= MAX_CONCURRENT_STATS
    assert not mount._batches
    hanging.go_on.set()
    async with asyncio.timeout(UNTIL_SECONDS):
        while await mount.stat_all(["/"]) != [PathStatus(PathKind.DIRECTORY)]:
            await asyncio.sleep(0.01)
    assert set(hanging.inspected[count:]) == {"/"}


async def test_a_recovered_mount_is_inspected_again(hanging: Hanging) -> None:
    mount = Mount(["/"])
    await hang_every_thread(mount, hanging)
    hanging.go_on.set()
    async with asyncio.timeout(UNTIL_SECONDS):
        while await mount.stat_all(hung(100)) != [PathStatus(PathKind.FILE, 1)] * 100:
            await asyncio.sleep(0.01)
    assert mount._threads == MAX_CONCURRENT_STATS
    assert mount._stuck == 0


async def test_cancelling_a_call_drops_its_paths(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount_module, "STATS_SECONDS", 3600.0)
    mount = Mount(["/"])
    looking = asyncio.create_task(mount.stat_all(hung(10)))
    while not hanging.inspected:
        await asyncio.sleep(0.001)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert not mount._batches
    await hanging.until_all_inspect(mount)


async def test_a_small_request_does_not_wait_for_a_large_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mount_module, "STATS_SECONDS", UNTIL_SECONDS)
    mount = Mount(["/"])
    large = asyncio.create_task(mount.stat_all(["/no"] * 200_000))
    await asyncio.sleep(0)
    assert await mount.stat_all(["/"]) == [PathStatus(PathKind.DIRECTORY)]
    assert not large.done()
    large.cancel()


async def test_an_idle_thread_is_assigned_to_one_batch_only(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount_module, "STATS_SECONDS", UNTIL_SECONDS)
    mount = Mount(["/"])
    await mount.stat_all(["/"])
    async with asyncio.timeout(UNTIL_SECONDS):
        while not mount._idle:
            await asyncio.sleep(0.001)
    with mount._changed:  # both are queued before the thread can wake
        slow, quick = (asyncio.create_task(mount.stat_all([it])) for it in ("/hung/0", "/"))
        await asyncio.sleep(0)
    assert await quick == [PathStatus(PathKind.DIRECTORY)]
    assert not slow.done()
    hanging.go_on.set()
    await slow


async def test_a_closed_loop_does_not_end_a_thread(hanging: Hanging) -> None:
    mount = Mount(["/"])

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(mount.stat_all(hung(1)))
        loop.run_until_complete(asyncio.wait([task], timeout=0.01))
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
        loop.close()

    await asyncio.to_thread(abandon)
    hanging.go_on.set()
    assert await mount.stat_all(["/"]) == [PathStatus(PathKind.DIRECTORY)]
