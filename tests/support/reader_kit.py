"""Reading files in threads: real files, and a source of files that hangs and dawdles on command."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.worker.readers.file_source import FileSource, PosixFiles
from gateway.worker.readers.pool import ReaderPool
from gateway.worker.readers.read_task import ReadOutcome, ReadTask

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

    def read(self, descriptor, buffers, offset, /) -> int:  # type: ignore[no-untyped-def, override]
        if gate := self.gates.get(self._names[descriptor]):
            gate.wait()
        return os.preadv(descriptor, buffers, offset)


class Rig:
    """A pool, the files below it, and the outcomes that came out of it so far."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock()
        self.told = threading.Event()
        self.tellings = 0
        self.pools: list[ReaderPool] = []
        self.gates: list[Gate] = []
        self._others = set(threading.enumerate())

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
        return self.task(name, size)

    def task(self, name: str, size: int = 1000) -> ReadTask:
        return task_for(self.root / name, size)

    def threads(self) -> list[threading.Thread]:
        """The readers of this test; another's may still hang, or be about to end."""
        named = [it for it in threading.enumerate() if it.name == "teamcache-reader"]
        return [it for it in named if it not in self._others]

    def descriptors(self) -> int:
        """How many lead to files of this test; the process has others, which come and go."""
        leads = [leads_to(number) for number in os.listdir("/proc/self/fd")]
        return sum(path.startswith(str(self.root.parent)) for path in leads)

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


def leads_to(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:  # closed meanwhile, as the one that listed them
        return ""


def task_for(path: str | Path, size: int = 0) -> ReadTask:
    return ReadTask(item_id=1, job_id=JOB, path=str(path), size=size)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    root = tmp_path / "media"
    root.mkdir()
    # A folder without anything in it is a filespace that is not mounted.
    (root / "something").touch()
    rig = Rig(root)
    yield rig
    for gate in rig.gates:
        gate.let_pass(10_000)
    for pool in rig.pools:
        pool.close(PATIENCE)
    for thread in rig.threads():
        thread.join(PATIENCE)
        assert not thread.is_alive()


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for something that tells nobody; yields to the other threads meanwhile."""
    for _ in range(1_000_000):
        if holds():
            return
        os.sched_yield()
    raise AssertionError("it never came true")
