"""Few readers copy from memory at once, and all of them may wait for a network."""

from __future__ import annotations

import os
import threading
import time

from gateway.worker.readers import limiter
from gateway.worker.readers.file_source import PosixFiles
from gateway.worker.readers.limiter import WIDTH, Lane
from support.reader_kit import PATIENCE, GatedFiles, Rig


def test_reads_that_are_soon_over_have_one_place_each(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(limiter, "PATIENCE", PATIENCE)
    narrow = Lane()
    assert all(narrow.enter() for _ in range(WIDTH))
    entered = threading.Event()
    late = threading.Thread(target=lambda: narrow.enter() and entered.set())
    late.start()
    assert not entered.is_set()
    narrow.leave(time.monotonic())
    assert entered.wait(PATIENCE)
    late.join()


def test_reads_that_wait_hold_up_no_other(rig: Rig) -> None:
    names = [f"{number}.mov" for number in range(3 * WIDTH)]
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), dict.fromkeys(names, gate)), 3 * WIDTH)
    for name in names:
        pool.submit(rig.file(name))
    for arrived in range(len(names)):
        gate.wait_for_arrival()
        if arrived == WIDTH:
            # The first without a place came in, since those who have one do not come out.
            pool.check_stalled()
    gate.let_pass(10_000)
    assert {outcome.error for outcome in rig.outcomes(pool, len(names))} == {None}


def test_a_read_that_fails_gives_its_place_back(rig: Rig) -> None:
    class TornFiles(PosixFiles):
        def read(self, descriptor, buffers, offset, /) -> int:  # type: ignore[no-untyped-def, override]
            raise PermissionError(1, os.strerror(1))

    pool = rig.pool(TornFiles(str(rig.root)), WIDTH + 1)
    for number in range(2 * WIDTH):
        pool.submit(rig.file(f"{number}.mov"))
    rig.outcomes(pool, 2 * WIDTH)
    assert pool._common.lane._places.qsize() == WIDTH


def test_a_read_that_took_long_lets_all_in() -> None:
    narrow = Lane()
    soon = narrow.enter()
    narrow.leave(soon)
    assert not narrow.is_open
    narrow.leave(narrow.enter() - limiter.PATIENCE)
    assert narrow.is_open
    assert narrow.enter() == 0.0


def test_a_lane_with_a_place_for_each_is_always_open() -> None:
    assert Lane.for_readers(WIDTH).is_open
    assert not Lane.for_readers(WIDTH + 1).is_open


def test_no_more_readers_are_started_than_can_copy_at_once(rig: Rig) -> None:
    pool = rig.pool(concurrency=4 * WIDTH)
    for number in range(100):
        pool.submit(rig.file(f"{number}.mov"))
        if not pool._common.lane.is_open:  # a machine that is busy may open it
            assert len(rig.threads()) <= WIDTH + 1
    rig.outcomes(pool, 100)
