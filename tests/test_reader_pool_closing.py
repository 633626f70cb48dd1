"""Closing the pool gives back what was not read, once, and waits for nothing that hangs."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from reader_kit import (
    CHUNK,
    PATIENCE,
    Bench,
    GatedFiles,
    reading_threads,
    wait_until,
)

from gateway.worker.read_task import ReadTask


def test_closing_gives_back_what_waits_and_what_is_being_read(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}), concurrency=1)
    tasks = [bench.file("done.mov"), bench.file("a.mov", 9 * CHUNK), bench.file("b.mov")]
    for task in tasks:
        pool.submit(task)
    gate.wait_for_arrival()
    assert pool.close() == tasks[1:]
    assert [outcome.task for outcome in pool.drain()] == tasks[:1]
    assert pool.unfinished == 0
    gate.let_pass(9)
    for thread in reading_threads():
        thread.join(PATIENCE)
    assert pool.drain() == []
    assert tasks[1].bytes_read == CHUNK


def test_closing_waits_for_readers_that_come_to_their_next_chunk(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate, "b.mov": gate}))
    large, small = bench.file("a.mov", 9 * CHUNK), bench.file("b.mov")
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
    assert reading_threads() == []
    # The small one came to its end with that chunk: it is read, not given back.
    assert unfinished == [large]
    assert [outcome.task for outcome in pool.drain()] == [small]


def test_closing_does_not_wait_for_a_hung_read(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}))
    task = bench.file("a.mov")
    pool.submit(task)
    gate.wait_for_arrival()
    assert pool.close(timeout=0.01) == [task]
    assert [thread.is_alive() for thread in reading_threads()] == [True]


def test_closing_twice_gives_nothing_back_twice(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}))
    pool.submit(bench.file("a.mov"))
    gate.wait_for_arrival()
    assert len(pool.close()) == 1
    assert pool.close() == []
    assert pool.check_stalled() == 0


def test_closing_an_unused_pool_gives_nothing_back(bench: Bench) -> None:
    assert bench.pool().close(PATIENCE) == []


def test_a_closed_pool_takes_no_tasks(bench: Bench) -> None:
    pool = bench.pool()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(bench.file("a.mov"))
    assert pool.unfinished == 0


def test_the_same_task_cannot_be_in_the_pool_twice(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}))
    task = bench.file("a.mov")
    pool.submit(task)
    with pytest.raises(RuntimeError, match="already"):
        pool.submit(task)
    gate.let_pass()
    assert bench.outcomes(pool)[0].task is task
    pool.submit(task)
    gate.let_pass()
    assert bench.outcomes(pool)[0].task is task


def test_every_task_comes_out_exactly_once_however_closing_falls(bench: Bench) -> None:
    tasks = [bench.file(f"{n}.mov", 100) for n in range(300)]
    for _ in range(20):
        pool = bench.pool(concurrency=8)
        for task in tasks:
            pool.submit(task)
        unfinished = pool.close()
        for reader in reading_threads():
            reader.join(PATIENCE)
        settled = [outcome.task for outcome in pool.drain()] + unfinished
        assert len(settled) == len(tasks)
        assert set(settled) == set(tasks)


HUNG_PROCESS = """
import os, sys, threading
from gateway.worker.file_source import PosixFiles
from gateway.worker.read_task import ReadTask
from gateway.worker.reader_pool import ReaderPool

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
def test_a_hung_read_does_not_hold_up_the_end_of_the_process(bench: Bench, ending: str) -> None:
    bench.file("a.mov")
    done = subprocess.run(
        [sys.executable, "-c", HUNG_PROCESS, str(bench.root), ending],
        timeout=PATIENCE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hangs\n", "")
