"""The pool of reading threads: cancelling, hung reads, telling the loop, closing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gateway.worker.readers.read_task import ReadOutcome
from support.reader_kit import (
    CHUNK,
    PATIENCE,
    GatedFiles,
    Rig,
)


def test_a_cancelled_file_stops_at_its_next_chunk(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}))
    before = rig.descriptors()
    task = rig.file("a.mov", 10 * CHUNK)
    pool.submit(task)
    gate.wait_for_arrival()
    task.cancelled = True
    gate.let_pass(10)
    outcome = rig.outcomes(pool)[0]
    assert (outcome.error, outcome.cancelled, task.bytes_read) == (None, True, CHUNK)
    assert rig.descriptors() == before


def test_a_file_cancelled_in_its_last_chunk_has_been_read(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}))
    task = rig.file("a.mov")
    pool.submit(task)
    gate.wait_for_arrival()
    task.cancelled = True
    gate.let_pass()
    outcome = rig.outcomes(pool)[0]
    assert (outcome.error, outcome.cancelled, task.bytes_read) == (None, False, 1000)


def test_a_file_cancelled_while_it_waits_is_never_opened(rig: Rig) -> None:
    gate = rig.gate()
    source = GatedFiles(str(rig.root), {"a.mov": gate})
    pool = rig.pool(source, concurrency=1)
    first, second = rig.file("a.mov"), rig.file("b.mov")
    pool.submit(first)
    pool.submit(second)
    gate.wait_for_arrival()
    second.cancelled = True
    gate.let_pass()
    outcomes = rig.outcomes(pool, 2)
    assert [(o.task, o.error, o.cancelled) for o in outcomes] == [
        (first, None, False),
        (second, None, True),
    ]
    assert source.opened == ["a.mov"]


def test_a_cancelled_file_that_hangs_is_let_go_of_within_a_second(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}))
    task = rig.file("a.mov")
    pool.submit(task)
    gate.wait_for_arrival()
    task.cancelled = True
    assert pool.check_stalled() == 0
    rig.clock.now += 1.0
    assert pool.check_stalled() == 1
    outcome = rig.outcomes(pool)[0]
    assert (outcome.task, outcome.error, outcome.cancelled) == (task, None, True)


@pytest.mark.parametrize("where", ["a.mov", "open a.mov"])
def test_a_read_that_hangs_fails_and_its_thread_is_replaced(rig: Rig, where: str) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {where: gate}), concurrency=1)
    hung, next_one = rig.file("a.mov"), rig.file("b.mov", 77)
    pool.submit(hung)
    pool.submit(next_one)
    gate.wait_for_arrival()
    rig.clock.now += 299.0
    assert pool.check_stalled() == 0
    assert pool.drain() == []
    rig.clock.now += 1.0
    assert pool.check_stalled() == 1
    outcomes = rig.outcomes(pool, 2)
    assert outcomes[0] == ReadOutcome(hung, "No data for 300 seconds", False, 300.0)
    assert (outcomes[1].task, outcomes[1].error) == (next_one, None)
    assert (pool.hung, pool.unfinished) == (1, 0)


def test_what_a_hung_read_says_late_is_not_heard(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}), concurrency=1)
    before = rig.descriptors()
    pool.submit(rig.file("a.mov"))
    gate.wait_for_arrival()
    late = rig.threads()[0]
    rig.clock.now += 300.0
    pool.check_stalled()
    assert rig.outcomes(pool)[0].error == "No data for 300 seconds"
    told = rig.tellings
    gate.let_pass()
    late.join(PATIENCE)
    assert not late.is_alive()
    assert pool.drain() == []
    assert (rig.tellings, pool.hung, pool.bytes_read) == (told, 0, 0)
    assert rig.descriptors() == before


def test_a_slow_read_that_gets_on_is_left_alone(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}), concurrency=1)
    pool.submit(rig.file("a.mov", 5 * CHUNK))
    for _ in range(5):
        gate.wait_for_arrival()
        assert pool.check_stalled() == 0
        rig.clock.now += 299.0
        assert pool.check_stalled() == 0
        gate.let_pass()
    assert rig.outcomes(pool)[0].seconds == 5 * 299.0


def test_idle_threads_are_never_given_up(rig: Rig) -> None:
    pool = rig.pool()
    pool.submit(rig.file("a.mov"))
    rig.outcomes(pool)
    rig.clock.now += 10_000.0
    assert pool.check_stalled() == 0
    pool.submit(rig.file("b.mov"))
    assert rig.outcomes(pool)[0].error is None
    assert pool.check_stalled() == 0


def test_more_hung_reads_than_threads_never_use_up_the_concurrency(rig: Rig) -> None:
    gate = rig.gate()
    names = [f"{n}.mov" for n in range(6)]
    pool = rig.pool(GatedFiles(str(rig.root), dict.fromkeys(names, gate)), concurrency=2)
    for name in names:
        pool.submit(rig.file(name))
    pool.submit(rig.file("good.mov"))
    for _ in range(3):
        gate.wait_for_arrival()
        gate.wait_for_arrival()
        rig.clock.now += 300.0
        assert pool.check_stalled() == 2
    outcomes = rig.outcomes(pool, 7)
    assert {Path(o.task.path).name: o.error for o in outcomes} == {
        **dict.fromkeys(names, "No data for 300 seconds"),
        "good.mov": None,
    }
    assert pool.hung == 6


def test_the_count_of_bytes_never_falls_when_a_reader_is_given_up(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}))
    pool.submit(rig.file("a.mov", 3 * CHUNK))
    gate.wait_for_arrival()
    gate.let_pass()
    gate.wait_for_arrival()
    assert pool.check_stalled() == 0
    rig.clock.now += 300.0
    assert pool.check_stalled() == 1
    assert pool.bytes_read == CHUNK


def test_tasks_wait_while_the_system_has_no_thread_to_spare(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = rig.pool()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        pool.submit(rig.file("a.mov"))
        assert pool.check_stalled() == 0
    assert pool.unfinished == 1
    pool.check_stalled()
    assert rig.outcomes(pool)[0].error is None


def test_the_loop_is_told_once_until_it_drains(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"last.mov": gate}), concurrency=1)
    pool.submit(*[rig.file(f"{n}.mov") for n in range(50)], rig.file("last.mov"))
    gate.wait_for_arrival()
    assert rig.tellings == 1
    assert len(pool.drain()) == 50
    rig.told.clear()
    gate.let_pass()
    assert len(rig.outcomes(pool)) == 1
    assert rig.tellings == 2


def test_the_end_of_the_last_task_is_told_though_nobody_has_drained(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"last.mov": gate}), concurrency=1)
    pool.submit(rig.file("first.mov"), rig.file("second.mov"), rig.file("last.mov"))
    gate.wait_for_arrival()
    assert rig.tellings == 1
    rig.told.clear()
    gate.let_pass()
    assert rig.told.wait(60)
    assert rig.tellings == 2
    assert [outcome.error for outcome in pool.drain()] == [None] * 3


def test_a_telling_that_fails_does_not_end_the_thread(rig: Rig) -> None:
    def fail() -> None:
        rig.told.set()
        raise RuntimeError("Event loop is closed")

    rig.tell = fail  # type: ignore[method-assign]
    pool = rig.pool(concurrency=1)
    for n in range(3):
        pool.submit(rig.file(f"{n}.mov"))
        assert rig.outcomes(pool)[0].error is None
    assert len(rig.threads()) == 1
