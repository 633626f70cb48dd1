"""Closing the pool gives back what was not read, once, and waits for nothing that hangs."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from gateway.worker.readers.read_task import ReadTask
from support.reader_kit import (
    CHUNK,
    PATIENCE,
    GatedFiles,
    Rig,
    wait_until,
)


def test_closing_gives_back_what_waits_and_what_is_being_read(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}), concurrency=1)
    tasks = [rig.file("done.mov"), rig.file("a.mov", 9 * CHUNK), rig.file("b.mov")]
    for task in tasks:
        pool.submit(task)
    gate.wait_for_arrival()
    assert pool.close() == tasks[1:]
    assert [outcome.task for outcome in pool.drain()] == tasks[:1]
    assert pool.unfinished == 0
    gate.let_pass(9)
    for thread in rig.threads():
        thread.join(PATIENCE)
    assert pool.drain() == []
    assert tasks[1].bytes_read == CHUNK


def test_closing_waits_for_readers_that_come_to_their_next_chunk(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate, "b.mov": gate}))
    large, small = rig.file("a.mov", 9 * CHUNK), rig.file("b.mov")
    pool.submit(large)
    pool.submit(small)
    gate.wait_for_arrival()
    gate.wait_for_arrival()
    unfinished: list[ReadTask] = []
    closing = threading.Thread(target=lambda: unfinished.extend(pool.close(PATIENCE)))
    closing.start()
    wait_until(lambda: all(reader.stopped for reader in pool._readers))
    gate.let_pass(9)
    closing.join(PATIENCE)
    assert rig.threads() == []
    # The small one came to its end with that chunk: it is read, not given back.
    assert unfinished == [large]
    assert [outcome.task for outcome in pool.drain()] == [small]


def test_closing_does_not_wait_for_a_hung_read(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}))
    task = rig.file("a.mov")
    pool.submit(task)
    gate.wait_for_arrival()
    assert pool.close(timeout=0.01) == [task]
    assert [thread.is_alive() for thread in rig.threads()] == [True]


def test_closing_twice_gives_nothing_back_twice(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}))
    pool.submit(rig.file("a.mov"))
    gate.wait_for_arrival()
    assert len(pool.close()) == 1
    assert pool.close() == []
    assert pool.check_stalled() == 0


def test_closing_an_unused_pool_gives_nothing_back(rig: Rig) -> None:
    assert rig.pool().close(PATIENCE) == []


def test_a_closed_pool_takes_no_tasks(rig: Rig) -> None:
    pool = rig.pool()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(rig.file("a.mov"))
    assert pool.unfinished == 0


def test_the_same_task_cannot_be_in_the_pool_twice(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}))
    task = rig.file("a.mov")
    pool.submit(task)
    with pytest.raises(RuntimeError, match="already"):
        pool.submit(task)
    gate.let_pass()
    assert rig.outcomes(pool)[0].task is task
    pool.submit(task)
    gate.let_pass()
    assert rig.outcomes(pool)[0].task is task


def test_every_task_comes_out_exactly_once_however_closing_falls(rig: Rig) -> None:
    tasks = [rig.file(f"{n}.mov", 100) for n in range(300)]
    for _ in range(20):
        pool = rig.pool(concurrency=8)
        for task in tasks:
            pool.submit(task)
        unfinished = pool.close()
        for reader in rig.threads():
            reader.join(PATIENCE)
        settled = [outcome.task for outcome in pool.drain()] + unfinished
        assert len(settled) == len(tasks)
        assert set(settled) == set(tasks)


HUNG_PROCESS = """
import os, sys, threading
from gateway.worker.readers.file_source import PosixFiles
from gateway.worker.readers.read_task import ReadTask
from gateway.worker.readers.pool import ReaderPool

hanging = threading.Event()

class HungFiles(PosixFiles):
    def read(self, descriptor, buffers, offset, /):
        hanging.set()
        threading.Event().wait()

root = sys.argv[1]
pool = ReaderPool(root, concurrency=1, chunk_size=4096, read_timeout=300,
                  on_outcomes=lambda: None, source=HungFiles(root))
pool.submit(ReadTask(1, "", root + "/a.mov", 0))
hanging.wait()
print("hangs", flush=True)
if "close" in sys.argv:
    pool.close()
"""


@pytest.mark.parametrize("ending", ["close", "nothing"])
def test_a_hung_read_does_not_hold_up_the_end_of_the_process(rig: Rig, ending: str) -> None:
    rig.file("a.mov")
    done = subprocess.run(
        [sys.executable, "-c", HUNG_PROCESS, str(rig.root), ending],
        timeout=PATIENCE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hangs\n", "")
