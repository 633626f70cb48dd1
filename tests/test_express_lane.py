"""Small files that come from memory are read by one reader, all others by many."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import Any

import pytest
from reader_kit import Clock, GatedFiles, Rig, task_for

from gateway.worker import express_lane
from gateway.worker.express_lane import (
    MOST_SECONDS,
    PLENTY,
    RETRY_SECONDS,
    SMALL_SIZE,
    WINDOW_SECONDS,
    ExpressLane,
)
from gateway.worker.file_source import PosixFiles
from gateway.worker.read_task import ReadTask

A_WINDOW = WINDOW_SECONDS * 1.01
QUICK = int(WINDOW_SECONDS / MOST_SECONDS)


def tasks(count: int, size: int = 1000) -> list[ReadTask]:
    return [task_for(f"/media/{number}", size) for number in range(count)]


class Track:
    """An express lane, its queue, and a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.lane = ExpressLane(self.queue, self.clock)

    def read(self, count: int) -> list[ReadTask | None]:
        return [self.lane.next() for _ in range(count)]

    def queued(self) -> list[Any]:
        return [self.queue.get_nowait() for _ in range(self.queue.qsize())]


@pytest.fixture
def track() -> Track:
    return Track()


def test_few_files_are_read_by_many(track: Track) -> None:
    few = tasks(PLENTY - 1)
    assert track.lane.take_in(few) == few
    assert not track.lane.has_work


@pytest.mark.parametrize("size", [0, SMALL_SIZE + 1])
def test_files_that_are_large_or_of_unknown_size_are_read_by_many(track: Track, size: int) -> None:
    others = tasks(2, size)
    assert track.lane.take_in([*tasks(PLENTY), *others]) == others
    assert track.lane.has_work


def test_many_small_files_are_for_one_reader_in_their_order(track: Track) -> None:
    many, more = tasks(PLENTY), tasks(1)
    assert track.lane.take_in(many) == []
    turn = track.lane.enter()
    assert turn is not None
    assert track.lane.enter() is None
    assert track.read(PLENTY) == many
    assert track.lane.take_in(more) == []
    assert track.read(2) == [*more, None]
    turn.release()
    assert track.lane.enter() is None


def test_who_reads_quickly_goes_on(track: Track) -> None:
    track.lane.take_in(tasks(3 * QUICK))
    assert track.lane.enter()
    for _ in range(2):
        track.read(QUICK + 1)
        track.clock.now += A_WINDOW
    assert track.read(1) != [None]
    assert track.lane.is_open


def test_who_has_to_wait_leaves_the_rest_to_all(track: Track) -> None:
    many = tasks(2 * QUICK)
    track.lane.take_in(many)
    turn = track.lane.enter()
    assert turn is not None
    read = track.read(QUICK // 2)
    track.clock.now += A_WINDOW
    assert track.read(1) == [None]
    assert [*read, *track.queued()] == many
    turn.release()
    assert track.lane.take_in(many) == many
    track.clock.now += RETRY_SECONDS
    assert track.lane.take_in(many) == []


def test_it_begins_with_what_waits_for_others(track: Track) -> None:
    waiting, large = tasks(3), tasks(1, SMALL_SIZE + 1)
    for work in (*waiting, None, *large):
        track.queue.put(work)
    track.lane.take_in(tasks(PLENTY))
    assert track.queued() == [None, *large]
    assert track.lane.enter()
    assert track.read(3) == waiting


def test_files_behind_one_that_hangs_are_read_by_others(track: Track) -> None:
    many = tasks(PLENTY)
    track.lane.take_in(many)
    assert track.lane.enter()
    track.read(1)
    track.clock.now += A_WINDOW
    track.lane.check()
    assert track.queued() == []
    track.clock.now += A_WINDOW
    track.lane.check()
    assert track.queued() == many[1:]
    # Another may read here later, whatever became of that one.
    track.clock.now += RETRY_SECONDS
    track.lane.take_in(many)
    assert track.lane.enter()


def test_files_that_came_as_it_closed_are_read_by_all(track: Track) -> None:
    late = tasks(1)
    track.lane.take_in(tasks(PLENTY))
    assert track.lane.enter()
    track.read(PLENTY)
    track.clock.now += A_WINDOW
    track.lane._waiting.extend(late)
    track.lane._is_open = False
    assert track.lane.enter() is None
    assert track.queued() == late


class CountedFiles(PosixFiles):
    """Real files, that notices how many are open at once."""

    def __init__(self, root: str, seconds: float = 0.0) -> None:
        super().__init__(root)
        self.most = self.count = 0
        self.seconds = seconds
        self.lock = threading.Lock()

    def open(self, path: str, /) -> tuple[int, int]:
        opened = super().open(path)
        with self.lock:
            self.count += 1
            self.most = max(self.most, self.count)
        time.sleep(self.seconds)
        return opened

    def close(self, descriptor: int, /) -> None:
        super().close(descriptor)
        with self.lock:
            self.count -= 1


def test_where_nothing_waits_one_file_is_open_at_a_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(express_lane, "WINDOW_SECONDS", 3600)
    source = CountedFiles(str(rig.root))
    pool = rig.pool(source, concurrency=64)
    for batch in range(3):
        pool.submit(*[rig.file(f"{batch}/{number}") for number in range(PLENTY)])
    assert {outcome.error for outcome in rig.outcomes(pool, 3 * PLENTY)} == {None}
    assert source.most == 1


def test_where_each_file_is_waited_for_many_are_open_at_once(rig: Rig) -> None:
    source = CountedFiles(str(rig.root), seconds=0.002)
    pool = rig.pool(source, concurrency=8)
    pool.submit(*[rig.file(f"{number}") for number in range(2 * PLENTY)])
    assert {outcome.error for outcome in rig.outcomes(pool, 2 * PLENTY)} == {None}
    assert source.most > 1


def test_a_read_that_hangs_holds_up_no_small_file(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(express_lane, "WINDOW_SECONDS", 0.0)
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"0": gate}), concurrency=2)
    pool.submit(*[rig.file(f"{number}") for number in range(PLENTY)])
    gate.wait_for_arrival()
    pool.check_stalled()
    rig.outcomes(pool, PLENTY - 1)
    gate.let_pass()
    [last] = rig.outcomes(pool)
    assert last.task.path.endswith("/0")


def test_under_a_limit_all_files_are_read_by_many(rig: Rig) -> None:
    pool = rig.pool(concurrency=2)
    pool._throttle.set(1 << 30)
    pool.submit(*[rig.file(f"{number}") for number in range(PLENTY)])
    assert not pool._express.is_open
    rig.outcomes(pool, PLENTY)
