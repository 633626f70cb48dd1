"""The limit of bytes per second: exact, changed at once, and no wait for what nobody wants."""

from __future__ import annotations

import threading
import time

import pytest

from bench.slow_files import SlowFiles
from gateway.worker.readers.pool import ReaderPool
from gateway.worker.readers.read_task import ReadTask
from gateway.worker.readers.throttle import CREDIT_SECONDS, PIECE_SECONDS, ByteBucket, Throttle
from support.reader_kit import CHUNK, PATIENCE, Clock, GatedFiles, Rig, wait_until

MB = 1_000_000


def take_for(
    budget: ByteBucket, clock: Clock, seconds: float, wanted: int, late: float = 0.0
) -> int:
    """What is taken in so many seconds by somebody who wakes up ``late`` each time."""
    end, taken = clock.now + seconds, 0
    while clock.now < end:
        if wait := budget.seconds_until_free(clock.now):
            clock.now += wait + late
            continue
        piece = budget.piece(wanted)
        budget.take(piece)
        taken += piece
    return taken


@pytest.mark.parametrize(
    ("rate", "wanted"),
    [(rate, wanted) for rate in (20 * MB, 300 * MB) for wanted in (64 * 1024, 4 << 20, 1 << 30)]
    + [(10_000, 1000), (10_000, 1 << 30), (20 * MB, 1000)],
)
@pytest.mark.parametrize("late", [0.0, 0.004])
def test_the_rate_is_kept_within_a_twentieth(rate: int, wanted: int, late: float) -> None:
    clock = Clock()
    seconds = 20.0 if rate == 10_000 else 2.0
    taken = take_for(ByteBucket(rate, clock.now), clock, seconds, wanted, late)
    assert taken == pytest.approx(rate * seconds, rel=0.05)


def test_what_was_not_used_is_not_saved_up() -> None:
    clock = Clock()
    budget = ByteBucket(20 * MB, clock.now)
    clock.now += 3600
    burst = 0
    while not budget.seconds_until_free(clock.now):
        piece = budget.piece(1 << 30)
        budget.take(piece)
        burst += piece
    assert burst <= 20 * MB * (CREDIT_SECONDS + PIECE_SECONDS)


def test_without_a_rate_everything_may_be_taken() -> None:
    budget = ByteBucket(0, 0.0)
    budget.take(budget.piece(1 << 40))
    assert budget.seconds_until_free(0.0) == 0.0


def test_what_was_not_there_is_given_back() -> None:
    budget = ByteBucket(MB, 0.0)
    budget.take(1000)
    budget.take(-1000)
    assert budget.seconds_until_free(0.0) == 0.0


def test_a_wait_ends_as_soon_as_nobody_wants_the_bytes() -> None:
    throttle = Throttle(1, Clock())
    throttle.take(CHUNK, lambda: False)
    assert throttle.take(CHUNK, lambda: True) == 0


def test_a_change_is_heard_by_those_who_wait() -> None:
    throttle = Throttle(1, Clock())
    throttle.take(CHUNK, lambda: False)
    counts: list[int] = []
    waiting = [
        threading.Thread(target=lambda: counts.append(throttle.take(CHUNK, lambda: False)))
        for _ in range(3)
    ]
    for thread in waiting:
        thread.start()
    throttle.set(0)
    for thread in waiting:
        thread.join(PATIENCE)
    assert counts == [CHUNK] * 3


def throttled_pool(rig: Rig, throttle: Throttle, source: GatedFiles | SlowFiles) -> ReaderPool:
    pool = ReaderPool(
        str(rig.root),
        concurrency=4,
        chunk_size=4 << 20,
        read_timeout=5.0,
        on_outcomes=rig.tell,
        clock=rig.clock,
        source=source,
        throttle=throttle,
    )
    rig.pools.append(pool)
    return pool


def test_waiting_for_the_throttle_is_no_read_that_hangs(rig: Rig) -> None:
    throttle = Throttle(1, Clock())
    throttle.take(1 << 20, lambda: False)
    pool = throttled_pool(rig, throttle, GatedFiles(str(rig.root), {}))
    task = rig.file("a.mov")
    pool.submit(task)
    wait_until(lambda: any(reader._is_waiting for reader in pool._readers))
    rig.clock.now += 1000.0
    assert pool.check_stalled() == 0
    throttle.set(0)
    assert rig.outcomes(pool)[0].error is None
    assert task.bytes_read == 1000


def test_a_file_that_waits_for_the_throttle_is_cancelled_at_once(rig: Rig) -> None:
    throttle = Throttle(1, Clock())
    throttle.take(1 << 20, lambda: False)
    pool = throttled_pool(rig, throttle, GatedFiles(str(rig.root), {}))
    tasks = [rig.file("a.mov"), rig.file("b.mov")]
    for task in tasks:
        pool.submit(task)
        task.cancelled = True
    assert all(outcome.cancelled for outcome in rig.outcomes(pool, 2))


def test_readers_together_read_as_many_bytes_per_second_as_they_may(rig: Rig) -> None:
    """Twenty megabytes per second, of a large file and of small ones, in chunks of four."""
    rate, seconds = 20 * MB, 2.5
    sizes = {"large": 400 * MB} | {str(number): MB for number in range(100)}
    source = SlowFiles(sizes, 10_000 * MB, latency=(0.0, 0.01))
    pool = throttled_pool(rig, Throttle(rate), source)
    for number, (name, size) in enumerate(sizes.items()):
        pool.submit(ReadTask(number, "", name, size))
    began = time.monotonic()
    while time.monotonic() < began + seconds + 0.2:  # the time is what is tested
        time.sleep(0.05)
        pool.check_stalled()
    pool.stop()
    first = source.delivered[0][0]
    came = sum(size for moment, size in source.delivered if moment <= first + seconds)
    assert came == pytest.approx(rate * seconds, rel=0.05)
