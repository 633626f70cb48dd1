"""A mount that really fails, in the kernel's own words: the file fails, the worker lives."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.index.indexer import Indexer
from gateway.settings import Settings
from support.fuse_files import FuseFiles, unmount
from support.worker_kit import Bench, counters, item_states, open_bench, query

SIZE = 300_000
FILES = 20
CHUNK = 64 * 1024
BAD = "file-07"


@pytest.fixture
def files() -> FuseFiles:
    return FuseFiles({f"file-{number:02}": SIZE for number in range(FILES)})


@pytest.fixture
async def bench(
    database_settings: Settings, tmp_path: Path, files: FuseFiles
) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        mount = stack.enter_context(files.mounted(tmp_path.resolve() / "mount"))
        changes = {"worker_chunk_size": CHUNK, "worker_read_timeout": 1.0, "worker_concurrency": 4}
        bench = await stack.enter_async_context(open_bench(database_settings, mount, **changes))
        await Indexer(bench.settings).index(str(mount))
        yield bench


def reasons(bench: Bench, job_id: str) -> dict[str, str]:
    rows = query(
        bench.settings,
        "SELECT file_path, error_message FROM cache_job_items"
        " WHERE job_id = %s AND status = 'failed'",
        job_id,
    )
    return {row.file_path.rpartition("/")[2]: row.error_message for row in rows}


async def test_a_mount_in_order_is_read_to_its_end(bench: Bench) -> None:
    job_id = await bench.submit("")
    async with bench.working():
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", FILES, 0, FILES * SIZE, 0)


@pytest.mark.parametrize("when", ["open", "read"])
@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EIO, "Input/output error"),
        (errno.ESTALE, "Stale file handle"),
        (errno.EACCES, "Permission denied"),
        (errno.EREMOTEIO, "Remote I/O error"),
        (errno.ETIMEDOUT, "Connection timed out"),
    ],
)
async def test_a_file_that_fails_fails_alone_and_with_its_reason(
    bench: Bench, files: FuseFiles, when: str, number: int, says: str
) -> None:
    {"open": files.open_faults, "read": files.read_faults}[when][BAD] = number
    job_id = await bench.submit("")
    async with bench.working():
        await bench.end_of(job_id)
        assert reasons(bench, job_id) == {BAD: says}
        assert item_states(bench.settings, job_id) == {"completed": FILES - 1, "failed": 1}
        await the_worker_lives(bench, files)


async def test_a_file_that_shrinks_while_it_is_read_ends_where_it_ends(
    bench: Bench, files: FuseFiles
) -> None:
    files.shrunk[BAD] = CHUNK + 10
    job_id = await bench.submit("")
    async with bench.working():
        await bench.end_of(job_id)
    assert item_states(bench.settings, job_id) == {"completed": FILES}


async def test_a_file_that_blocks_for_ever_fails_and_holds_up_no_other(
    bench: Bench, files: FuseFiles
) -> None:
    files.hung.add(BAD)
    job_id = await bench.submit("")
    async with bench.working():
        await bench.end_of(job_id)
        assert list(reasons(bench, job_id)) == [BAD]
        assert item_states(bench.settings, job_id) == {"completed": FILES - 1, "failed": 1}
        await the_worker_lives(bench, files)


async def test_a_job_waits_for_a_mount_that_disappeared_and_goes_on_when_it_is_back(
    bench: Bench, files: FuseFiles, caplog: pytest.LogCaptureFixture
) -> None:
    files.disappear()
    job_id = await bench.submit("")
    async with bench.working():
        async with asyncio.timeout(30):
            while "is gone, waiting for it" not in caplog.text:
                await asyncio.sleep(0.02)
        assert "failed" not in item_states(bench.settings, job_id)
        unmount(bench.mount)
        again = FuseFiles(files.sizes)
        with again.mounted(bench.mount):
            await bench.end_of(job_id)
    assert counters(bench.settings, job_id) == ("completed", FILES, 0, FILES * SIZE, 0)


async def the_worker_lives(bench: Bench, files: FuseFiles) -> None:
    files.let_go()
    for faults in (files.open_faults, files.read_faults):
        faults.clear()
    files.hung.clear()
    job_id = await bench.submit(files=[BAD])
    await bench.end_of(job_id)
    assert item_states(bench.settings, job_id) == {"completed": 1}
