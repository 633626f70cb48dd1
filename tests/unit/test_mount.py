"""Looking through a mount that answers, that hangs, and that comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.mount import mount as mount_module
from gateway.mount.mount import STATS_AT_ONCE, Mount
from gateway.mount.path_status import Kind, Seen, Sight

UNTIL_SECONDS = 30


class Hanging:
    """Looks at paths as `Sight` does, but those that begin with ``/hung`` hang until let go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.asked: list[str] = []
        self.sight = Sight(["/"])

    def look(self, path: str) -> Seen:
        self.asked.append(path)
        if path.startswith("/hung"):
            self.go_on.wait(UNTIL_SECONDS)
            return Seen(Kind.FILE, 1)
        return self.sight.look(path)

    async def until_all_ask(self, mount: Mount) -> None:
        """A thread takes a path a moment before it looks at it."""
        async with asyncio.timeout(UNTIL_SECONDS):
            while len(self.asked) < mount._stuck:
                await asyncio.sleep(0.001)
        assert len(self.asked) == mount._stuck


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    """A mount that hangs in part; two seconds are a tenth here."""
    hanging = Hanging()
    monkeypatch.setattr(mount_module, "Sight", lambda *folders: hanging)
    monkeypatch.setattr(mount_module, "STATS_SECONDS", 0.1)
    yield hanging
    hanging.go_on.set()


def hung(count: int) -> list[str]:
    return [f"/hung/{number}" for number in range(count)]


async def hang_every_thread(mount: Mount, hanging: Hanging) -> None:
    async with asyncio.timeout(UNTIL_SECONDS):
        while len(hanging.asked) < STATS_AT_ONCE:
            await mount.look_at(hung(STATS_AT_ONCE - len(hanging.asked)))


async def test_each_path_is_told_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 7)
    (tmp_path / "folder").mkdir()
    mount = Mount([str(tmp_path)])
    paths = [f"{tmp_path}/{name}" for name in ("file", "no", "folder", "file/no", "nul\0", "file")]
    assert await mount.look_at(paths) == [
        Seen(Kind.FILE, 7),
        Seen(Kind.MISSING),
        Seen(Kind.DIRECTORY),
        Seen(Kind.MISSING),
        Seen(Kind.UNKNOWN),
        Seen(Kind.FILE, 7),
    ]
    assert await mount.look_at([]) == []


async def test_a_mount_point_is_visible_if_something_is_in_it(tmp_path: Path) -> None:
    assert not await Mount([str(tmp_path)]).visible()
    assert not await Mount([str(tmp_path / "no")]).visible()
    (tmp_path / "file").touch()
    assert await Mount([str(tmp_path)]).visible() == {str(tmp_path)}


async def test_what_is_missing_is_unknown_where_the_mount_is_not_visible(tmp_path: Path) -> None:
    here, away = str(tmp_path / "here"), str(tmp_path / "here too")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/file").touch()
    mount = Mount([here, away])
    paths = [f"{here}/no", f"{away}/no", f"{here}/file", away, f"{tmp_path}/outside"]
    kinds = [Kind.MISSING, Kind.UNKNOWN, Kind.FILE, Kind.UNKNOWN, Kind.MISSING]
    assert [it.kind for it in await mount.look_at(paths)] == kinds
    assert await mount.visible() == {here}
    (tmp_path / "here too").mkdir()
    (tmp_path / "here too/file").touch()
    kinds[1], kinds[3] = Kind.MISSING, Kind.DIRECTORY
    assert [it.kind for it in await mount.look_at(paths)] == kinds


async def test_many_paths_are_looked_at_while_the_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount_module, "STATS_SECONDS", UNTIL_SECONDS)
    turns = 0
    looking = asyncio.create_task(Mount(["/"]).look_at([str(tmp_path / "no")] * 50_000))
    while not looking.done():
        await asyncio.sleep(0)
        turns += 1
    assert set(await looking) == {Seen(Kind.MISSING)}
    assert turns > 100


async def test_what_hangs_is_unknown_and_what_answers_is_told(
    hanging: Hanging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It answers as fast as its thread gets its turn, which a tenth is too little for.
    monkeypatch.setattr(mount_module, "STATS_SECONDS", 2.0)
    seen = await Mount(["/"]).look_at([*hung(5), str(tmp_path)])
    assert seen == [Seen(Kind.UNKNOWN)] * 5 + [Seen(Kind.DIRECTORY)]


def looking_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "mount-stat"}


async def test_paths_that_hang_are_asked_side_by_side_in_threads_that_hold_up_no_exit(
    hanging: Hanging,
) -> None:
    before = looking_threads()
    await hang_every_thread(Mount(["/"]), hanging)
    threads = looking_threads() - before
    assert len(threads) == STATS_AT_ONCE
    assert all(thread.daemon for thread in threads)


async def test_while_every_thread_hangs_nothing_is_taken_in(
    hanging: Hanging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = Mount([str(tmp_path)])
    await hang_every_thread(mount, hanging)
    monkeypatch.setattr(mount_module, "STATS_SECONDS", 3600.0)
    async with asyncio.timeout(UNTIL_SECONDS):
        for _ in range(100):
            assert await mount.look_at(hung(1000)) == [Seen(Kind.UNKNOWN)] * 1000
        assert not await mount.visible()
    assert len(hanging.asked) == STATS_AT_ONCE
    assert not mount._batches


async def test_what_was_given_up_is_dropped(hanging: Hanging) -> None:
    mount = Mount(["/"])
    await mount.look_at(hung(STATS_AT_ONCE - 1))
    await mount.look_at(hung(10_000))
    await hanging.until_all_ask(mount)
    asked = len(hanging.asked)
    assert asked <= STATS_AT_ONCE
    assert not mount._batches
    hanging.go_on.set()
    async with asyncio.timeout(UNTIL_SECONDS):
        while await mount.look_at(["/"]) != [Seen(Kind.DIRECTORY)]:
            await asyncio.sleep(0.01)
    assert set(hanging.asked[asked:]) == {"/"}


async def test_a_mount_that_comes_back_is_asked_again(hanging: Hanging) -> None:
    mount = Mount(["/"])
    await hang_every_thread(mount, hanging)
    hanging.go_on.set()
    async with asyncio.timeout(UNTIL_SECONDS):
        while await mount.look_at(hung(100)) != [Seen(Kind.FILE, 1)] * 100:
            await asyncio.sleep(0.01)
    assert mount._threads == STATS_AT_ONCE
    assert mount._stuck == 0


async def test_one_who_hangs_up_gives_his_paths_up(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount_module, "STATS_SECONDS", 3600.0)
    mount = Mount(["/"])
    looking = asyncio.create_task(mount.look_at(hung(10)))
    while not hanging.asked:
        await asyncio.sleep(0.001)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert not mount._batches
    await hanging.until_all_ask(mount)


async def test_a_small_request_does_not_wait_for_a_large_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mount_module, "STATS_SECONDS", UNTIL_SECONDS)
    mount = Mount(["/"])
    large = asyncio.create_task(mount.look_at(["/no"] * 200_000))
    await asyncio.sleep(0)
    assert await mount.look_at(["/"]) == [Seen(Kind.DIRECTORY)]
    assert not large.done()
    large.cancel()


async def test_an_idle_thread_is_promised_to_one_alone(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount_module, "STATS_SECONDS", UNTIL_SECONDS)
    mount = Mount(["/"])
    await mount.look_at(["/"])
    async with asyncio.timeout(UNTIL_SECONDS):
        while not mount._idle:
            await asyncio.sleep(0.001)
    with mount._changed:  # both are taken in before the thread can wake
        slow, quick = (asyncio.create_task(mount.look_at([it])) for it in ("/hung/0", "/"))
        await asyncio.sleep(0)
    assert await quick == [Seen(Kind.DIRECTORY)]
    assert not slow.done()
    hanging.go_on.set()
    await slow


async def test_a_loop_that_was_closed_meanwhile_does_not_end_a_thread(hanging: Hanging) -> None:
    mount = Mount(["/"])

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(mount.look_at(hung(1)))
        loop.run_until_complete(asyncio.wait([task], timeout=0.01))
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
        loop.close()

    await asyncio.to_thread(abandon)
    hanging.go_on.set()
    assert await mount.look_at(["/"]) == [Seen(Kind.DIRECTORY)]
