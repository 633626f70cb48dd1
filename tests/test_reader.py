"""Reading files in threads: real files, and a source of files that hangs and dawdles on command."""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.worker import file_source
from gateway.worker.file_source import FileSource, PosixFiles
from gateway.worker.reader import ReadOutcome, ReadTask
from gateway.worker.reader_pool import ReaderPool

CHUNK = 64 * 1024
JOB = "0f0e0d0c-0b0a-4908-8706-050403020100"
PATIENCE = 30.0  # real seconds that a test waits before it says that nothing happens


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """Lets a reading thread in one read at a time, and says when one has come to it."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.passes = threading.Semaphore(0)

    def wait(self) -> None:
        self.arrived.release()
        self.passes.acquire()

    def wait_for_arrival(self) -> None:
        assert self.arrived.acquire(timeout=PATIENCE), "no read came"

    def let_pass(self, reads: int = 1) -> None:
        self.passes.release(reads)


class GatedFiles(PosixFiles):
    """Real files; reads of those whose name is in ``gates`` wait at the gate first."""

    def __init__(self, root: str, gates: dict[str, Gate]) -> None:
        super().__init__(root)
        self.gates = gates
        self.opened: list[str] = []
        self._names: dict[int, str] = {}

    def open(self, path: str, /) -> tuple[int, int]:
        name = os.path.basename(path)
        self.opened.append(name)
        if gate := self.gates.get("open " + name):
            gate.wait()
        descriptor, size = super().open(path)
        self._names[descriptor] = name
        return descriptor, size

    def read(self, descriptor, buffers, /) -> int:  # type: ignore[no-untyped-def, override]
        if gate := self.gates.get(self._names[descriptor]):
            gate.wait()
        return os.readv(descriptor, buffers)


class Bench:
    """A pool, the files below it, and the outcomes that came out of it so far."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock()
        self.told = threading.Event()
        self.tellings = 0
        self.pools: list[ReaderPool] = []
        self.gates: list[Gate] = []

    def pool(self, source: FileSource | None = None, concurrency: int = 2) -> ReaderPool:
        pool = ReaderPool(
            str(self.root),
            concurrency=concurrency,
            chunk_size=CHUNK,
            read_timeout=300.0,
            on_outcomes=self.tell,
            clock=self.clock,
            source=source,
        )
        self.pools.append(pool)
        return pool

    def tell(self) -> None:
        self.tellings += 1
        self.told.set()

    def gate(self) -> Gate:
        self.gates.append(gate := Gate())
        return gate

    def file(self, name: str, size: int = 1000) -> ReadTask:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        return task_for(path, size)

    def outcomes(self, pool: ReaderPool, count: int = 1) -> list[ReadOutcome]:
        """Wait until ``count`` outcomes came out of ``pool``."""
        found: list[ReadOutcome] = []
        while len(found) < count:
            assert self.told.wait(PATIENCE), f"only {len(found)} of {count} outcomes came"
            self.told.clear()
            found += pool.drain()
        assert len(found) == count
        return found

    def read(self, path: str | Path) -> ReadOutcome:
        """Read one path with a pool of its own."""
        pool = self.pool()
        pool.submit(task_for(path))
        return self.outcomes(pool)[0]


def task_for(path: str | Path, size: int = 0) -> ReadTask:
    return ReadTask(item_id=1, job_id=JOB, path=str(path), size=size)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "teamcache-reader"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    root = tmp_path / "media"
    root.mkdir()
    bench = Bench(root)
    yield bench
    for gate in bench.gates:
        gate.let_pass(10_000)
    for pool in bench.pools:
        pool.close(PATIENCE)
    for thread in reading_threads():
        thread.join(PATIENCE)
        assert not thread.is_alive()


# Reading to the end


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 5 * CHUNK + 7])
def test_a_file_of_any_size_is_read_to_its_last_byte(bench: Bench, size: int) -> None:
    pool = bench.pool()
    task = bench.file("a.mov", size)
    pool.submit(task)
    outcome = bench.outcomes(pool)[0]
    assert outcome == ReadOutcome(task, error=None, cancelled=False, seconds=0.0)
    assert task.bytes_read == size
    assert pool.bytes_read == size


@pytest.mark.parametrize("chunk_size", [4096, 4097, 1024 * 1024 + 1, 1 << 30])
def test_chunks_of_any_size_read_every_byte(bench: Bench, chunk_size: int) -> None:
    size = 3 * 1024 * 1024 + 11
    counted: list[int] = []

    class CountingFiles(PosixFiles):
        def read(self, descriptor, buffers, /) -> int:  # type: ignore[no-untyped-def, override]
            assert sum(len(buffer) for buffer in buffers) <= chunk_size
            counted.append(os.readv(descriptor, buffers))
            return counted[-1]

    pool = ReaderPool(
        str(bench.root),
        concurrency=1,
        chunk_size=chunk_size,
        read_timeout=1.0,
        on_outcomes=bench.tell,
        source=CountingFiles(str(bench.root)),
    )
    bench.pools.append(pool)
    task = bench.file("a.mov", size)
    pool.submit(task)
    assert bench.outcomes(pool)[0].error is None
    assert task.bytes_read == sum(counted) == size
    assert len(counted) == -(-size // chunk_size)


def test_many_files_come_out_once_each_and_leave_no_descriptor_open(bench: Bench) -> None:
    pool = bench.pool(concurrency=8)
    tasks = [bench.file(f"{n % 7}/{n}.dpx", n) for n in range(1000)]
    before = open_descriptors()
    for task in tasks:
        pool.submit(task)
    outcomes = bench.outcomes(pool, len(tasks))
    assert {outcome.task for outcome in outcomes} == set(tasks)
    assert [outcome.error for outcome in outcomes] == [None] * len(tasks)
    assert pool.bytes_read == sum(range(1000))
    assert (pool.unfinished, pool.pending, pool.in_flight, pool.hung) == (0, 0, 0, 0)
    assert open_descriptors() == before


def test_threads_are_started_as_they_are_needed_and_never_more_than_wanted(bench: Bench) -> None:
    gate = bench.gate()
    source = GatedFiles(str(bench.root), {f"{n}.mov": gate for n in range(5)})
    pool = bench.pool(source, concurrency=3)
    assert reading_threads() == []
    pool.submit(bench.file("0.mov"))
    gate.wait_for_arrival()
    assert len(reading_threads()) == 1
    for n in range(1, 5):
        pool.submit(bench.file(f"{n}.mov"))
    gate.wait_for_arrival()
    gate.wait_for_arrival()
    assert len(reading_threads()) == 3
    assert (pool.in_flight, pool.pending, pool.unfinished) == (3, 2, 5)
    gate.let_pass(5)
    bench.outcomes(pool, 5)
    assert len(reading_threads()) == 3


def test_progress_moves_while_a_large_file_is_being_read(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}))
    task = bench.file("a.mov", 3 * CHUNK)
    pool.submit(task)
    seen = []
    for _ in range(3):
        gate.wait_for_arrival()
        seen.append((task.bytes_read, pool.bytes_read))
        gate.let_pass()
    bench.outcomes(pool)
    assert seen == [(0, 0), (CHUNK, CHUNK), (2 * CHUNK, 2 * CHUNK)]
    assert task.bytes_read == pool.bytes_read == 3 * CHUNK


def test_a_file_that_shrinks_meanwhile_ends_at_its_new_end(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}))
    task = bench.file("a.mov", 4 * CHUNK)
    pool.submit(task)
    gate.wait_for_arrival()
    os.truncate(task.path, CHUNK + 5)
    gate.let_pass(4)
    assert bench.outcomes(pool)[0].error is None
    assert task.bytes_read == CHUNK + 5


def test_a_file_that_grows_meanwhile_is_read_to_the_size_it_was_opened_with(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}))
    task = bench.file("a.mov", CHUNK + 5)
    pool.submit(task)
    gate.wait_for_arrival()
    os.truncate(task.path, 100 * CHUNK)
    gate.let_pass(200)
    assert bench.outcomes(pool)[0].error is None
    assert task.bytes_read == CHUNK + 5


def test_a_file_that_disappears_while_it_is_read_is_read_to_its_end(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}))
    task = bench.file("a.mov", 2 * CHUNK)
    pool.submit(task)
    gate.wait_for_arrival()
    os.unlink(task.path)
    gate.let_pass(2)
    assert bench.outcomes(pool)[0].error is None
    assert task.bytes_read == 2 * CHUNK


@pytest.mark.parametrize("size", [CHUNK // 2, 20 * CHUNK])
def test_the_kernel_is_asked_to_forget_every_byte(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    ranges: list[tuple[int, int]] = []
    real = os.posix_fadvise

    def fadvise(descriptor: int, offset: int, length: int, advice: int) -> None:
        if advice == os.POSIX_FADV_DONTNEED:
            ranges.append((offset, length))
        real(descriptor, offset, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", fadvise)
    assert bench.read(bench.file("a.mov", size).path).error is None
    chunks = [(n * CHUNK, CHUNK) for n in range(size // CHUNK)] if size > CHUNK else []
    assert ranges == [*chunks, (0, 0)]


def test_a_filesystem_that_takes_no_advice_is_read_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: int) -> None:
        raise OSError(errno.EINVAL, "no advice")

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    assert bench.read(bench.file("a.mov", 5 * CHUNK).path).error is None


def test_a_system_without_file_advice_reads_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fadvise")
    spec = importlib.util.spec_from_file_location("without_advice", file_source.__file__)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pool = bench.pool(module.PosixFiles(str(bench.root)))
    pool.submit(bench.file("a.mov", 5 * CHUNK))
    assert bench.outcomes(pool)[0].error is None


# What cannot be read


def test_a_missing_file_fails_with_the_reason(bench: Bench) -> None:
    assert bench.read(bench.root / "gone.mov").error == "No such file or directory"


def test_a_directory_fails_with_the_reason(bench: Bench) -> None:
    (bench.root / "reel").mkdir()
    assert bench.read(bench.root / "reel").error == "Is a directory"


def test_a_name_too_long_fails_with_the_reason(bench: Bench) -> None:
    assert bench.read(bench.root / ("n" * 300)).error == "File name too long"


def test_an_unreadable_file_fails_with_the_reason(bench: Bench) -> None:
    task = bench.file("secret.mov")
    os.chmod(task.path, 0)
    if os.access(task.path, os.R_OK):
        pytest.skip("this user may read everything")
    assert bench.read(task.path).error == "Permission denied"


def test_a_refusal_of_the_filesystem_is_told_in_its_words(bench: Bench) -> None:
    class RefusingFiles(PosixFiles):
        def open(self, path: str, /) -> tuple[int, int]:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    pool = bench.pool(RefusingFiles(str(bench.root)))
    pool.submit(bench.file("a.mov"))
    assert bench.outcomes(pool)[0].error == "Permission denied"


def test_a_read_error_half_way_fails_and_closes_the_file(bench: Bench) -> None:
    class TornFiles(PosixFiles):
        def read(self, descriptor, buffers, /) -> int:  # type: ignore[no-untyped-def, override]
            if os.lseek(descriptor, 0, os.SEEK_CUR):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return os.readv(descriptor, buffers)

    pool = bench.pool(TornFiles(str(bench.root)))
    before = open_descriptors()
    task = bench.file("a.mov", 3 * CHUNK)
    pool.submit(task)
    assert bench.outcomes(pool)[0].error == "Input/output error"
    assert task.bytes_read == CHUNK
    assert open_descriptors() == before


def test_a_fifo_is_refused_without_waiting_for_a_writer(bench: Bench) -> None:
    os.mkfifo(bench.root / "pipe")
    assert bench.read(bench.root / "pipe").error == "Not a regular file"


def test_a_socket_is_refused(bench: Bench) -> None:
    # By its relative name: the whole one may be too long for a socket's address.
    directory = os.open(bench.root, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{directory}/socket")
        assert bench.read(bench.root / "socket").error == "Not a regular file"
    os.close(directory)


def test_a_link_to_a_device_is_refused(bench: Bench) -> None:
    (bench.root / "zero").symlink_to("/dev/zero")
    assert bench.read(bench.root / "zero").error == "Not a regular file"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/a\0b.mov", "The name contains a null character"),
        ("/\ud800.mov", "The name cannot be encoded for the filesystem"),
        ("", "No such file or directory"),
    ],
)
def test_a_name_that_no_filesystem_takes_fails_with_a_reason(
    bench: Bench, path: str, reason: str
) -> None:
    assert bench.read(str(bench.root) + path if path else path).error == reason


@pytest.mark.parametrize("error", [MemoryError(), ValueError("surprise"), OSError("no number")])
def test_a_thread_survives_any_error_and_names_it(
    bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    class SurprisingFiles(PosixFiles):
        def open(self, path: str, /) -> tuple[int, int]:
            if path.endswith("surprise.mov"):
                raise error
            return super().open(path)

    pool = bench.pool(SurprisingFiles(str(bench.root)), concurrency=1)
    pool.submit(bench.file("surprise.mov"))
    pool.submit(bench.file("b.mov"))
    outcomes = bench.outcomes(pool, 2)
    assert [outcome.error for outcome in outcomes] == [type(error).__name__, None]
    unexpected = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(unexpected) == (not isinstance(error, OSError))


def test_a_failed_file_closes_what_it_opened(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "outside.mov").write_bytes(b"x")
    (bench.root / "out.mov").symlink_to(tmp_path / "outside.mov")
    (bench.root / "reel").mkdir()
    before = open_descriptors()
    pool = bench.pool()
    for name in ("out.mov", "reel", "gone.mov"):
        pool.submit(task_for(bench.root / name))
    assert all(outcome.error for outcome in bench.outcomes(pool, 3))
    assert open_descriptors() == before


# Inside and outside the filespace


def test_a_link_to_a_file_inside_is_read(bench: Bench) -> None:
    target = bench.file("reel/a.mov", 123)
    (bench.root / "link.mov").symlink_to(target.path)
    outcome = bench.read(bench.root / "link.mov")
    assert (outcome.error, outcome.task.bytes_read) == (None, 123)


@pytest.mark.parametrize("target", ["outside.mov", "media-2/a.mov", "media.mov"])
def test_a_link_that_leads_out_is_refused(bench: Bench, tmp_path: Path, target: str) -> None:
    (tmp_path / target).parent.mkdir(exist_ok=True)
    (tmp_path / target).write_bytes(b"secret")
    (bench.root / "link.mov").symlink_to(tmp_path / target)
    outcome = bench.read(bench.root / "link.mov")
    assert (outcome.error, outcome.task.bytes_read) == ("Leads out of the filespace", 0)


def test_a_linked_folder_that_leads_out_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_bytes(b"secret")
    (bench.root / "reel").symlink_to(tmp_path / "etc")
    assert bench.read(bench.root / "reel" / "passwd").error == "Leads out of the filespace"


def test_dots_that_lead_out_are_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "outside.mov").write_bytes(b"secret")
    assert bench.read(f"{bench.root}/../outside.mov").error == "Leads out of the filespace"


def test_a_root_that_is_a_link_is_no_way_out(bench: Bench, tmp_path: Path) -> None:
    bench.file("a.mov", 5)
    (tmp_path / "mount").symlink_to(bench.root)
    bench.root = tmp_path / "mount"
    assert bench.read(bench.root / "a.mov").error is None


@pytest.mark.parametrize("end", ["/", "//", "/."])
def test_a_root_may_end_in_slashes(bench: Bench, end: str) -> None:
    task = bench.file("a.mov")
    pool = bench.pool(PosixFiles(str(bench.root) + end))
    pool.submit(task)
    assert bench.outcomes(pool)[0].error is None


def test_the_root_of_all_files_holds_every_file(bench: Bench) -> None:
    pool = bench.pool(PosixFiles("/"))
    pool.submit(bench.file("a.mov"))
    assert bench.outcomes(pool)[0].error is None


def test_without_proc_the_path_itself_is_resolved(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.worker.file_source.OPEN_DESCRIPTORS", str(tmp_path / "no-proc"))
    (tmp_path / "outside.mov").write_bytes(b"secret")
    (bench.root / "out.mov").symlink_to(tmp_path / "outside.mov")
    assert bench.read(bench.file("a.mov").path).error is None
    assert bench.read(bench.root / "out.mov").error == "Leads out of the filespace"


# Cancelling


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


# Reads that hang


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
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}))
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


# Telling the loop


def test_the_loop_is_told_once_until_it_drains(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"last.mov": gate}), concurrency=1)
    for n in range(50):
        pool.submit(bench.file(f"{n}.mov"))
    pool.submit(bench.file("last.mov"))
    gate.wait_for_arrival()
    assert bench.tellings == 1
    assert len(pool.drain()) == 50
    bench.told.clear()
    gate.let_pass()
    assert len(bench.outcomes(pool)) == 1
    assert bench.tellings == 2


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


# Closing


def test_closing_gives_back_what_waits_and_what_is_being_read(bench: Bench) -> None:
    gate = bench.gate()
    pool = bench.pool(GatedFiles(str(bench.root), {"a.mov": gate}), concurrency=1)
    tasks = [bench.file("done.mov"), bench.file("a.mov", 9 * CHUNK), bench.file("b.mov")]
    for task in tasks:
        pool.submit(task)
    gate.wait_for_arrival()
    assert pool.close() == tasks[1:]
    assert [outcome.task for outcome in pool.drain()] == tasks[:1]
    assert (pool.unfinished, pool.pending) == (0, 0)
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


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for something that tells nobody; yields to the other threads meanwhile."""
    for _ in range(1_000_000):
        if holds():
            return
        os.sched_yield()
    raise AssertionError("it never came true")


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
from gateway.worker.reader import ReadTask
from gateway.worker.reader_pool import ReaderPool

hanging = threading.Event()

class HungFiles(PosixFiles):
    def read(self, descriptor, buffers, /):
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
