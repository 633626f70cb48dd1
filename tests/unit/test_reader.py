"""Files are read to their end, whatever becomes of them meanwhile."""

from __future__ import annotations

import errno
import importlib.util
import os

import pytest

from gateway.worker.readers import file_source
from gateway.worker.readers.file_source import PosixFiles
from gateway.worker.readers.pool import ReaderPool
from gateway.worker.readers.read_task import ReadOutcome
from support.reader_kit import (
    CHUNK,
    GatedFiles,
    Rig,
)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 5 * CHUNK + 7])
def test_a_file_of_any_size_is_read_to_its_last_byte(rig: Rig, size: int) -> None:
    pool = rig.pool()
    task = rig.file("a.mov", size)
    pool.submit(task)
    outcome = rig.outcomes(pool)[0]
    assert outcome == ReadOutcome(task, error=None, cancelled=False, seconds=0.0)
    assert task.bytes_read == size
    assert pool.bytes_read == size


@pytest.mark.parametrize("chunk_size", [4096, 4097, 1024 * 1024 + 1, 1 << 30])
def test_chunks_of_any_size_read_every_byte(rig: Rig, chunk_size: int) -> None:
    size = 3 * 1024 * 1024 + 11
    counted: list[int] = []

    class CountingFiles(PosixFiles):
        def read(self, descriptor, buffers, offset, /) -> int:  # type: ignore[no-untyped-def, override]
            assert sum(len(buffer) for buffer in buffers) <= chunk_size
            counted.append(os.preadv(descriptor, buffers, offset))
            return counted[-1]

    pool = ReaderPool(
        str(rig.root),
        concurrency=1,
        chunk_size=chunk_size,
        read_timeout=1.0,
        on_outcomes=rig.tell,
        source=CountingFiles(str(rig.root)),
    )
    rig.pools.append(pool)
    task = rig.file("a.mov", size)
    pool.submit(task)
    assert rig.outcomes(pool)[0].error is None
    assert task.bytes_read == sum(counted) == size
    assert len(counted) == -(-size // chunk_size)


def test_many_files_come_out_once_each_and_leave_no_descriptor_open(rig: Rig) -> None:
    pool = rig.pool(concurrency=8)
    tasks = [rig.file(f"{n % 7}/{n}.dpx", n) for n in range(1000)]
    before = rig.descriptors()
    for task in tasks:
        pool.submit(task)
    outcomes = rig.outcomes(pool, len(tasks))
    assert {outcome.task for outcome in outcomes} == set(tasks)
    assert [outcome.error for outcome in outcomes] == [None] * len(tasks)
    assert pool.bytes_read == sum(range(1000))
    assert (pool.unfinished, pool.hung) == (0, 0)
    assert rig.descriptors() == before


def test_threads_are_started_as_they_are_needed_and_never_more_than_wanted(rig: Rig) -> None:
    gate = rig.gate()
    source = GatedFiles(str(rig.root), {f"{n}.mov": gate for n in range(5)})
    pool = rig.pool(source, concurrency=3)
    assert rig.threads() == []
    pool.submit(rig.file("0.mov"))
    gate.wait_for_arrival()
    assert len(rig.threads()) == 1
    for n in range(1, 5):
        pool.submit(rig.file(f"{n}.mov"))
    gate.wait_for_arrival()
    gate.wait_for_arrival()
    assert len(rig.threads()) == 3
    assert pool.unfinished == 5
    gate.let_pass(5)
    rig.outcomes(pool, 5)
    assert len(rig.threads()) == 3


def test_progress_moves_while_a_large_file_is_being_read(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}))
    task = rig.file("a.mov", 3 * CHUNK)
    pool.submit(task)
    seen = []
    for _ in range(3):
        gate.wait_for_arrival()
        seen.append((task.bytes_read, pool.bytes_read))
        gate.let_pass()
    rig.outcomes(pool)
    assert seen == [(0, 0), (CHUNK, CHUNK), (2 * CHUNK, 2 * CHUNK)]
    assert task.bytes_read == pool.bytes_read == 3 * CHUNK


def test_a_file_that_shrinks_meanwhile_ends_at_its_new_end(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}))
    task = rig.file("a.mov", 4 * CHUNK)
    pool.submit(task)
    gate.wait_for_arrival()
    os.truncate(task.path, CHUNK + 5)
    gate.let_pass(4)
    assert rig.outcomes(pool)[0].error is None
    assert task.bytes_read == CHUNK + 5


def test_a_file_that_grows_meanwhile_is_read_to_the_size_it_was_opened_with(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}))
    task = rig.file("a.mov", CHUNK + 5)
    pool.submit(task)
    gate.wait_for_arrival()
    os.truncate(task.path, 100 * CHUNK)
    gate.let_pass(200)
    assert rig.outcomes(pool)[0].error is None
    assert task.bytes_read == CHUNK + 5


def test_a_file_that_disappears_while_it_is_read_is_read_to_its_end(rig: Rig) -> None:
    gate = rig.gate()
    pool = rig.pool(GatedFiles(str(rig.root), {"a.mov": gate}))
    task = rig.file("a.mov", 2 * CHUNK)
    pool.submit(task)
    gate.wait_for_arrival()
    os.unlink(task.path)
    gate.let_pass(2)
    assert rig.outcomes(pool)[0].error is None
    assert task.bytes_read == 2 * CHUNK


@pytest.mark.parametrize("size", [CHUNK // 2, 20 * CHUNK])
def test_the_kernel_is_asked_to_forget_every_byte(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    ranges: list[tuple[int, int]] = []
    real = os.posix_fadvise

    def fadvise(descriptor: int, offset: int, length: int, advice: int) -> None:
        if advice == os.POSIX_FADV_DONTNEED:
            ranges.append((offset, length))
        real(descriptor, offset, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", fadvise)
    assert rig.read(rig.file("a.mov", size).path).error is None
    chunks = [(n * CHUNK, CHUNK) for n in range(size // CHUNK)] if size > CHUNK else []
    assert ranges == [*chunks, (0, 0)]


def test_a_filesystem_that_takes_no_advice_is_read_all_the_same(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: int) -> None:
        raise OSError(errno.EINVAL, "no advice")

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    assert rig.read(rig.file("a.mov", 5 * CHUNK).path).error is None


def test_a_system_without_file_advice_reads_all_the_same(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fadvise")
    spec = importlib.util.spec_from_file_location("without_advice", file_source.__file__)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pool = rig.pool(module.PosixFiles(str(rig.root)))
    pool.submit(rig.file("a.mov", 5 * CHUNK))
    assert rig.outcomes(pool)[0].error is None
