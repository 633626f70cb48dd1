"""Large files read by several readers: every byte once, one outcome, no thread lost."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter

from gateway.worker.readers.file_source import PosixFiles
from gateway.worker.readers.parallel_read import ParallelRead, ParallelReads
from gateway.worker.readers.pool import ReaderPool
from gateway.worker.readers.read_task import ReadOutcome, ReadTask
from support.reader_kit import (
    CHUNK,
    PATIENCE,
    Gate,
    GatedFiles,
    Rig,
    task_for,
    wait_until,
)

READERS = 3


class CountedFiles(GatedFiles):
    """Gated files that record what is read, and may fail from a given byte on."""

    def __init__(self, root: str, gates: dict[str, Gate]) -> None:
        super().__init__(root, gates)
        self.reads: Counter[tuple[int, int]] = Counter()
        self.readers: set[int] = set()
        self.torn_from = 1 << 40
        self.hung_at: Counter[int] = Counter()
        self.hang = threading.Event()

    def read(self, descriptor, buffers, offset, /):  # type: ignore[no-untyped-def]
        if offset in self.hung_at:
            self.hung_at[offset] += 1
            self.hang.wait()
        got = super().read(descriptor, buffers, offset)
        if offset >= self.torn_from:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        self.readers.add(threading.get_ident())
        self.reads[offset, got] += 1
        return got


def begin(
    rig: Rig, chunks: int, hung_at: int | None = None
) -> tuple[ReaderPool, CountedFiles, Gate, ReadTask]:
    """A file of so many chunks, two of which are read; all readers wait with another at the gate.

    The one at ``hung_at`` hangs instead.
    """
    gate = rig.gate()
    source = CountedFiles(str(rig.root), {"large.mov": gate})
    if hung_at is not None:
        source.hung_at[hung_at] = 0
    pool = rig.pool(source, READERS)
    task = rig.file("large.mov", chunks * CHUNK)
    pool.submit(task)
    for _ in range(2):
        gate.wait_for_arrival()
        assert pool.check_stalled() == 0
        rig.clock.now += 1.0
        gate.let_pass()
    for _ in range(READERS - (hung_at is not None)):
        gate.wait_for_arrival()
    return pool, source, gate, task


def test_a_file_that_has_to_be_waited_for_is_read_by_all_readers(rig: Rig) -> None:
    before = rig.descriptors()
    pool, source, gate, task = begin(rig, chunks=40)
    assert task.bytes_read == 2 * CHUNK
    gate.let_pass(100)
    outcome = rig.outcomes(pool)[0]
    assert (outcome.error, outcome.cancelled) == (None, False)
    assert source.reads == Counter({(n * CHUNK, CHUNK): 1 for n in range(40)})
    assert task.bytes_read == pool.bytes_read == 40 * CHUNK
    assert rig.descriptors() == before
    assert source.opened == ["large.mov"]


def test_a_file_that_comes_from_memory_is_read_by_one_reader(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"large.mov": gate}), READERS)
    pool.submit(rig.file("large.mov", 5 * CHUNK))
    for _ in range(5):
        gate.wait_for_arrival()
        pool.check_stalled()
        gate.let_pass()
    assert rig.outcomes(pool)[0].error is None
    assert len(rig.threads()) == 1


def test_its_progress_rises_with_every_chunk_of_every_reader(rig: Rig) -> None:
    _pool, _source, gate, task = begin(rig, chunks=10)
    for done in range(3, 8):
        rig.clock.now += 1.0
        gate.let_pass()
        gate.wait_for_arrival()
        wait_until(lambda done=done: task.bytes_read == done * CHUNK)


def test_cancelling_stops_all_of_its_readers_at_their_next_chunk(rig: Rig) -> None:
    before = rig.descriptors()
    pool, source, gate, task = begin(rig, chunks=40)
    task.cancelled = True
    gate.let_pass(100)
    outcome = rig.outcomes(pool)[0]
    assert (outcome.error, outcome.cancelled) == (None, True)
    assert source.reads.total() == 2 + READERS
    assert task.bytes_read == (2 + READERS) * CHUNK
    assert rig.descriptors() == before
    assert len(rig.threads()) == READERS


def test_a_cancelled_one_whose_readers_all_hang_is_let_go_of_once(rig: Rig) -> None:
    before = rig.descriptors()
    pool, _source, gate, task = begin(rig, chunks=40)
    task.cancelled = True
    pool.check_stalled()
    rig.clock.now += 1.0
    assert pool.check_stalled() == 1
    outcome = rig.outcomes(pool)[0]
    assert (outcome.error, outcome.cancelled, pool.hung) == (None, True, READERS)
    gate.let_pass(100)
    wait_until(lambda: pool.hung == 0)
    assert rig.descriptors() == before


def test_one_part_that_hangs_fails_the_file_once_and_loses_no_reader(rig: Rig) -> None:
    before = rig.descriptors()
    pool, source, gate, task = begin(rig, chunks=6, hung_at=3 * CHUNK)
    gate.let_pass(100)
    wait_until(lambda: task.bytes_read == 5 * CHUNK)
    pool.check_stalled()
    assert pool.drain() == []
    rig.clock.now += 300.0
    assert pool.check_stalled() == 1
    outcome = rig.outcomes(pool)[0]
    assert (outcome.task, outcome.error) == (task, "No data for 300 seconds")
    assert_all_readers_read(rig, pool, source)
    source.hang.set()
    wait_until(lambda: pool.hung == 0)
    assert pool.drain() == []
    assert rig.descriptors() == before


def assert_all_readers_read(rig: Rig, pool: ReaderPool, source: CountedFiles) -> None:
    gate = rig.gate()
    names = [f"{number}.mov" for number in range(READERS)]
    for name in names:
        source.gates[name] = gate
        pool.submit(rig.file(name))
    for _ in names:
        gate.wait_for_arrival()
    gate.let_pass(READERS)
    assert {outcome.error for outcome in rig.outcomes(pool, READERS)} == {None}


def test_parts_that_get_on_are_left_alone_for_hours(rig: Rig) -> None:
    pool, _source, gate, _task = begin(rig, chunks=20)
    for _ in range(15):
        assert pool.check_stalled() == 0
        rig.clock.now += 40.0
        gate.let_pass()
        gate.wait_for_arrival()
    gate.let_pass(100)
    assert rig.outcomes(pool)[0].error is None


def test_an_error_of_one_part_is_the_files(rig: Rig) -> None:
    before = rig.descriptors()
    pool, source, gate, _task = begin(rig, chunks=40)
    source.torn_from = 4 * CHUNK
    gate.let_pass(100)
    outcome = rig.outcomes(pool)[0]
    assert (outcome.error, outcome.cancelled) == ("Operation not permitted", False)
    assert rig.descriptors() == before
    assert_all_readers_read(rig, pool, source)


def test_a_file_that_shrinks_meanwhile_ends_at_its_new_end(rig: Rig) -> None:
    pool, source, gate, task = begin(rig, chunks=40)
    os.truncate(task.path, 3 * CHUNK + 7)
    gate.let_pass(100)
    assert rig.outcomes(pool)[0].error is None
    assert task.bytes_read == 3 * CHUNK + 7
    assert source.reads.total() < 10


def test_a_file_that_grows_meanwhile_is_read_to_its_size_at_the_beginning(rig: Rig) -> None:
    pool, _source, gate, task = begin(rig, chunks=10)
    os.truncate(task.path, 1000 * CHUNK)
    gate.let_pass(100)
    assert rig.outcomes(pool)[0].error is None
    assert task.bytes_read == 10 * CHUNK


def test_readers_leave_a_large_file_for_one_that_waits(rig: Rig) -> None:
    pool, source, gate, large = begin(rig, chunks=1000)
    pool.submit(rig.file("small.mov"))
    # The owner of the large file may pass more than once before another reader does.
    for _ in range(900):
        gate.let_pass()
        if rig.told.wait(0.01):
            break
    assert rig.outcomes(pool)[0].task.path.endswith("small.mov")
    assert large.bytes_read < 1000 * CHUNK
    assert source.opened == ["large.mov", "small.mov"]


def test_a_pool_that_closes_gives_the_file_back_unread(rig: Rig) -> None:
    before = rig.descriptors()
    pool, _source, gate, task = begin(rig, chunks=40)
    pool.stop()
    gate.let_pass(100)
    assert pool.close(PATIENCE) == [task]
    assert pool.drain() == []
    assert rig.descriptors() == before


def test_helpers_go_to_the_large_file_with_the_fewest_readers(rig: Rig) -> None:
    board: ParallelReads[str] = ParallelReads()
    source = PosixFiles(str(rig.root))
    files = []
    for name in ("one", "other"):
        task = rig.file(name, 10 * CHUNK)
        files.append(ParallelRead[str](source, task, *source.open(task.path), CHUNK))
        files[-1].join(f"owner of {name}")
        board.add(files[-1])
    assert board.fewest_readers() is None
    for file in files:
        file.is_slow = True
    one, other = files
    for member in "abcd":
        neediest = board.fewest_readers()
        assert neediest
        neediest.join(member)
    assert (one.members, other.members) == (3, 3)
    for file in files:
        for member in file.give_up():
            file.leave(member)


def test_a_large_file_is_worth_several_readers_where_there_are_many(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate, "b.mov": gate}), 64)
    pool.submit(rig.file("a.mov", 2 * CHUNK))
    pool.submit(rig.file("b.mov", CHUNK))
    assert (pool.places, pool.unfinished) == (5, 2)
    gate.let_pass(10)
    rig.outcomes(pool, 2)
    assert pool.places == 0


def test_a_file_given_up_while_its_owner_ends_it_leaves_no_dead_thread(rig: Rig) -> None:
    """The owner's outcome comes too late: the file is no longer registered."""
    pool = rig.pool(concurrency=1)
    task = rig.file("a.mov")
    settle = pool._settle

    def settle_late(outcome: ReadOutcome) -> bool:
        settle(ReadOutcome(task, "No data", False, 0.0))
        return settle(outcome)

    object.__setattr__(pool._context, "finish", settle_late)
    pool.submit(task)
    assert rig.outcomes(pool)[0].error == "No data"
    wait_until(lambda: not rig.threads())
    object.__setattr__(pool._context, "finish", settle)
    pool.submit(task_for(rig.file("b.mov").path))
    assert pool.check_stalled() == 0
    assert rig.outcomes(pool)[0].error is None
