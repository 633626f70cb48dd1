"""The pool of reading threads: cancelling, hung reads, telling the loop, closing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from reader_kit import (
    CHUNK,
    PATIENCE,
    Bench,
    GatedFiles,
    open_descriptors,
    reading_threads,
)

from gateway.worker.read_task import ReadOutcome


def test_a_cancelled_file_stops_at_its_next_chunk(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}))
    before = open_descriptors()
    task = bench.file("a.mov", 10 * CHUNK)
    pool.submit(task)
    gate.wait_for_arrival()
    task.cancelled = True
    gate.let_pass(10)
    outcome = bench.outcomes(pool)[0]
    assert (outcome.error, outcome.cancelled, task.bytes_read) == (None, True, CHUNK)
    assert open_descriptors() == before


def test_a_file_cancelled_in_its_last_chunk_has_been_read(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}))
    task = bench.file("a.mov")
    pool.submit(task)
    gate.wait_for_arrival()
    task.cancelled = True
    gate.let_pass()
    outcome = bench.outcomes(pool)[0]
    assert (outcome.error, outcome.cancelled, task.bytes_read) == (None, False, 1000)


def test_a_file_cancelled_while_it_waits_is_never_opened(bench: Bench) -> None:
    gate = bench.gate()
    source = GatedFiles(str(bench.root), {"a.mov": gate})
    pool = bench.pool(source, concurrency=1)
    first, second = bench.file("a.mov"), bench.file("b.mov")
    pool.submit(first)
    pool.submit(second)
    gate.wait_for_arrival()
    second.cancelled = True
    gate.let_pass()
    outcomes = bench.outcomes(pool, 2)
    assert [(o.task, o.error, o.cancelled) for o in outcomes] == [
        (first, None, False),
        (second, None, True),
    ]
    assert source.opened == ["a.mov"]


def test_a_cancelled_file_that_hangs_is_let_go_of_within_a_second(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}))
    task = bench.file("a.mov")
    pool.submit(task)
    gate.wait_for_arrival()
    task.cancelled = True
    assert pool.check_stalled() == 0
    bench.clock.now += 1.0
    assert pool.check_stalled() == 1
    outcome = bench.outcomes(pool)[0]
    assert (outcome.task, outcome.error, outcome.cancelled) == (task, None, True)


@pytest.mark.parametrize("where", ["a.mov", "open a.mov"])
def test_a_read_that_hangs_fails_and_its_thread_is_replaced(bench: Bench, where: str) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {where: gate}), concurrency=1)
    hung, next_one = bench.file("a.mov"), bench.file("b.mov", 77)
    pool.submit(hung)
    pool.submit(next_one)
    gate.wait_for_arrival()
    bench.clock.now += 299.0
    assert pool.check_stalled() == 0
    assert pool.drain() == []
    bench.clock.now += 1.0
    assert pool.check_stalled() == 1
    outcomes = bench.outcomes(pool, 2)
    assert outcomes[0] == ReadOutcome(hung, "No data for 300 seconds", False, 300.0)
    assert (outcomes[1].task, outcomes[1].error) == (next_one, None)
    assert (pool.hung, pool.unfinished) == (1, 0)


def test_what_a_hung_read_says_late_is_not_heard(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}), concurrency=1)
    before = open_descriptors()
    pool.submit(bench.file("a.mov"))
    gate.wait_for_arrival()
    late = reading_threads()[0]
    bench.clock.now += 300.0
    pool.check_stalled()
    assert bench.outcomes(pool)[0].error == "No data for 300 seconds"
    told = bench.tellings
    gate.let_pass()
    late.join(PATIENCE)
    assert not late.is_alive()
    assert pool.drain() == []
    assert (bench.tellings, pool.hung, pool.bytes_read) == (told, 0, 0)
    assert open_descriptors() == before


def test_a_slow_read_that_gets_on_is_left_alone(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}), concurrency=1)
    pool.submit(bench.file("a.mov", 5 * CHUNK))
    for _ in range(5):
        gate.wait_for_arrival()
        assert pool.check_stalled() == 0
        bench.clock.now += 299.0
        assert pool.check_stalled() == 0
        gate.let_pass()
    assert bench.outcomes(pool)[0].seconds == 5 * 299.0


def test_idle_threads_are_never_given_up(bench: Bench) -> None:
    pool = bench.pool()
    pool.submit(bench.file("a.mov"))
    bench.outcomes(pool)
    bench.clock.now += 10_000.0
    assert pool.check_stalled() == 0
    pool.submit(bench.file("b.mov"))
    assert bench.outcomes(pool)[0].error is None
    assert pool.check_stalled() == 0


def test_more_hung_reads_than_threads_never_use_up_the_concurrency(bench: Bench) -> None:
    gate = bench.gate()
    names = [f"{n}.mov" for n in range(6)]
    pool = bench.pool(GatedFiles(str(bench.root), dict.fromkeys(names, gate)), concurrency=2)
    for name in names:
        pool.submit(bench.file(name))
    pool.submit(bench.file("good.mov"))
    for _ in range(3):
        gate.wait_for_arrival()
        gate.wait_for_arrival()
        bench.clock.now += 300.0
        assert pool.check_stalled() == 2
    outcomes = bench.outcomes(pool, 7)
    assert {Path(o.task.path).name: o.error for o in outcomes} == {
        **dict.fromkeys(names, "No data for 300 seconds"),
        "good.mov": None,
    }
    assert pool.hung == 6


def test_the_count_of_bytes_never_falls_when_a_reader_is_given_up(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}))
    pool.submit(bench.file("a.mov", 3 * CHUNK))
    gate.wait_for_arrival()
    gate.let_pass()
    gate.wait_for_arrival()
    assert pool.check_stalled() == 0
    bench.clock.now += 300.0
    assert pool.check_stalled() == 1
    assert pool.bytes_read == CHUNK


def test_tasks_wait_while_the_system_has_no_thread_to_spare(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = bench.pool()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        pool.submit(bench.file("a.mov"))
        assert pool.check_stalled() == 0
    assert pool.unfinished == 1
    pool.check_stalled()
    assert bench.outcomes(pool)[0].error is None


def test_the_loop_is_told_once_until_it_drains(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"last.mov": gate}), concurrency=1)
    pool.submit(*[bench.file(f"{n}.mov") for n in range(50)], bench.file("last.mov"))
    gate.wait_for_arrival()
    assert bench.tellings == 1
    assert len(pool.drain()) == 50
    bench.told.clear()
    gate.let_pass()
    assert len(bench.outcomes(pool)) == 1
    assert bench.tellings == 2


def test_the_end_of_the_last_task_is_told_though_nobody_has_drained(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"last.mov": gate}), concurrency=1)
    pool.submit(bench.file("first.mov"), bench.file("second.mov"), bench.file("last.mov"))
    gate.wait_for_arrival()
    assert bench.tellings == 1
    bench.told.clear()
    gate.let_pass()
    assert bench.told.wait(60)
    assert bench.tellings == 2
    assert [outcome.error for outcome in pool.drain()] == [None] * 3


def test_a_telling_that_fails_does_not_end_the_thread(bench: Bench) -> None:
    def fail() -> None:
        bench.told.set()
        raise RuntimeError("Event loop is closed")

    bench.tell = fail  # type: ignore[method-assign]
    pool = bench.pool(concurrency=1)
    for n in range(3):
        pool.submit(bench.file(f"{n}.mov"))
        assert bench.outcomes(pool)[0].error is None
    assert len(reading_threads()) == 1
