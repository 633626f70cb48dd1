"""Small files that come from memory are read by one reader, all others by many."""

from __future__ import annotations

import threading
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from gateway.worker.readers.pools import ReaderPools
from gateway.worker.readers.read_task import ReadTask
from gateway.worker.readers.small_file_queue import (
    FIRST_PAUSE,
    HANG_SECONDS,
    MOST_SECONDS,
    PLENTY,
    SLOW_WINDOWS,
    SMALL_SIZE,
    WINDOW_SECONDS,
    ExpressLane,
)
from support.reader_kit import CHUNK, Clock, GatedFiles, Rig, WatchedFiles, task_for, wait_until

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

    def enter(self) -> threading.Lock:
        turn = self.lane.enter()
        assert turn is not None
        return turn

    def read(self, turn: threading.Lock, count: int) -> list[ReadTask | None]:
        return [self.lane.take(turn) for _ in range(count)]

    def read_slowly(self) -> tuple[list[ReadTask | None], threading.Lock]:
        """Read until nobody is to read alone any more."""
        turn = self.enter()
        read = []
        for _ in range(SLOW_WINDOWS):
            read += self.read(turn, 1)
            self.clock.now += A_WINDOW
        assert self.read(turn, 1) == [None]
        return read, turn

    def queued(self) -> list[Any]:
        return [self.queue.get_nowait() for _ in range(self.queue.qsize())]


@pytest.fixture
def track() -> Track:
    return Track()


def test_few_files_are_read_by_many(track: Track) -> None:
    few = tasks(PLENTY - 1)
    assert track.lane.take_in(few) == few
    assert track.queued() == []


@pytest.mark.parametrize("size", [0, SMALL_SIZE + 1])
def test_files_that_are_large_or_of_unknown_size_are_read_by_many(track: Track, size: int) -> None:
    others = tasks(2, size)
    assert track.lane.take_in([*tasks(PLENTY), *others]) == others
    assert track.queued() == [track.lane]


def test_many_small_files_are_for_one_reader_in_their_order(track: Track) -> None:
    many, more = tasks(PLENTY), tasks(1)
    assert track.lane.take_in(many) == []
    turn = track.enter()
    assert track.lane.enter() is None
    assert track.read(turn, PLENTY) == many
    assert track.lane.take_in(more) == []
    assert track.read(turn, 2) == [*more, None]
    track.lane.leave(turn)
    assert track.lane.enter() is None


def test_what_comes_as_the_reader_leaves_is_read(track: Track) -> None:
    track.lane.take_in(tasks(PLENTY))
    turn = track.enter()
    assert track.read(turn, PLENTY + 1)[-1] is None
    track.lane.take_in(tasks(1))
    track.queued()
    track.lane.leave(turn)
    assert track.queued() == [track.lane]


def test_who_reads_quickly_goes_on(track: Track) -> None:
    track.lane.take_in(tasks(4 * QUICK))
    turn = track.enter()
    for _ in range(3):
        track.read(turn, QUICK + 5)
        track.clock.now += A_WINDOW
    assert track.read(turn, 1) != [None]


def test_one_slow_window_may_be_a_busy_machine(track: Track) -> None:
    track.lane.take_in(tasks(4 * QUICK))
    turn = track.enter()
    for count in (1, QUICK + 5, 1):
        track.read(turn, count)
        track.clock.now += A_WINDOW
    assert track.read(turn, 1) != [None]


def test_who_has_to_wait_leaves_the_rest_to_all(track: Track) -> None:
    many = tasks(2 * QUICK)
    track.lane.take_in(many)
    read, turn = track.read_slowly()
    assert track.read(turn, 1) == [None]
    assert [*read, *track.queued()[1:]] == many
    track.lane.leave(turn)
    assert track.lane.take_in(many) == many
    track.clock.now += FIRST_PAUSE
    assert track.lane.take_in(many) == []


def test_a_slow_filespace_is_tried_more_and_more_seldom(track: Track) -> None:
    many = tasks(PLENTY)
    for pause in (FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE):
        assert track.lane.take_in(many) == []
        _, turn = track.read_slowly()
        track.lane.leave(turn)
        track.queued()
        track.clock.now += pause - 1
        assert track.lane.take_in(many) == many
        track.clock.now += 1


def test_it_begins_with_what_waits_for_others(track: Track) -> None:
    waiting, large = tasks(3), tasks(1, SMALL_SIZE + 1)
    for work in (*waiting, None, *large):
        track.queue.put(work)
    track.lane.take_in(tasks(PLENTY))
    assert track.queued() == [None, *large, track.lane]
    assert track.read(track.enter(), 3) == waiting


def test_files_behind_one_that_hangs_are_read_by_others(track: Track) -> None:
    many = tasks(PLENTY)
    track.lane.take_in(many)
    track.queued()
    hung = track.enter()
    track.read(hung, 1)
    track.lane.check()
    track.clock.now += HANG_SECONDS / 2
    track.lane.check()
    assert track.queued() == []
    track.clock.now += HANG_SECONDS
    track.lane.check()
    assert track.queued() == many[1:]
    # Another may read here later, and whoever hung finds nothing here any more.
    track.clock.now += FIRST_PAUSE
    track.lane.take_in(many)
    turn = track.enter()
    assert track.read(hung, 1) == [None]
    track.lane.leave(hung)
    assert track.read(turn, 1) == many[:1]


def test_who_moves_on_is_not_taken_for_hung(track: Track) -> None:
    track.lane.take_in(tasks(12 * QUICK))
    turn = track.enter()
    for _ in range(5):
        track.read(turn, 2 * QUICK + 5)
        track.lane.check()
        track.clock.now += HANG_SECONDS
    assert track.lane._is_open


def test_files_that_came_as_it_closed_are_read_by_all(track: Track) -> None:
    late = tasks(1)
    track.lane.take_in(tasks(PLENTY))
    _, turn = track.read_slowly()
    track.queued()
    track.lane._waiting.extend(late)
    track.lane.leave(turn)
    assert track.queued() == [track.lane]
    assert track.lane.enter() is None
    assert track.queued() == late


class CountedFiles(WatchedFiles):
    """Real files, that notices how many are open at once. ``seconds`` go by for each of them."""

    def __init__(self, rig: Rig, seconds: float = 0.0) -> None:
        super().__init__(str(rig.root))
        self.clock = rig.clock
        self.most = self.count = 0
        self.seconds = seconds
        self.lock = threading.Lock()

    def open(self, path: str, /) -> tuple[int, int]:
        opened = super().open(path)
        with self.lock:
            self.count += 1
            self.most = max(self.most, self.count)
            self.clock.now += self.seconds
        return opened

    def close(self, descriptor: int, /) -> None:
        super().close(descriptor)
        with self.lock:
            self.count -= 1


def small_files(rig: Rig, folder: str) -> list[ReadTask]:
    return [rig.file(f"{folder}/{number}") for number in range(PLENTY)]


def test_where_nothing_waits_one_file_is_open_at_a_time(rig: Rig) -> None:
    source = CountedFiles(rig)
    pool = rig.pool(source, concurrency=64)
    for folder in ("a", "b", "c"):
        pool.submit(*small_files(rig, folder))
    assert {outcome.error for outcome in rig.outcomes(pool, 3 * PLENTY)} == {None}
    assert source.most == 1


def test_where_each_file_is_waited_for_they_are_left_to_all(rig: Rig) -> None:
    pool = rig.pool(CountedFiles(rig, seconds=A_WINDOW), concurrency=2)
    pool.submit(*small_files(rig, "a"))
    assert {outcome.error for outcome in rig.outcomes(pool, PLENTY)} == {None}
    assert not pool._express._is_open


def test_a_read_that_hangs_holds_up_no_small_file(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"0": gate}), concurrency=2)
    pool.submit(*small_files(rig, "a"))
    gate.wait_for_arrival()
    pool.check_stalled()
    rig.clock.now += HANG_SECONDS
    pool.check_stalled()
    rig.outcomes(pool, PLENTY - 1)
    gate.let_pass()
    [last] = rig.outcomes(pool)
    assert last.task.path.endswith("/0")


def test_a_pool_that_closes_gives_back_what_waits_in_it(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"0": gate}), concurrency=1)
    many = small_files(rig, "a")
    pool.submit(*many)
    gate.wait_for_arrival()
    pool.stop()
    gate.let_pass()
    assert pool.close(30.0)[-1] is many[-1]


def test_under_a_limit_all_files_are_read_by_many(rig: Rig) -> None:
    pool = rig.pool(concurrency=2)
    pool._throttle.set(1 << 30)
    pool.submit(*small_files(rig, "a"))
    assert not pool._express._is_open
    rig.outcomes(pool, PLENTY)


def test_jobs_of_two_filespaces_that_take_turns_are_read_each_by_one(
    rig: Rig, tmp_path: Path
) -> None:
    other = Rig(tmp_path / "other")
    other.root.mkdir()
    pools = ReaderPools(
        [str(rig.root), str(other.root)],
        concurrency=2,
        chunk_size=CHUNK,
        read_timeout=300.0,
        on_outcomes=rig.tell,
    )
    interleave = zip(small_files(rig, "a"), small_files(other, "b"), strict=True)
    pools.submit(*chain(*interleave))
    assert [pool._express._is_open for pool in pools._pools.values()] == [True, True]
    wait_until(lambda: not pools.unfinished)
    pools.close(30.0)
