"""``teamcache-gateway throttle``, and workers that follow it while they run."""

from __future__ import annotations

import asyncio
import logging

import pytest
from click.testing import CliRunner, Result

from gateway.cli import cli
from gateway.worker.throttle_store import ThrottleStore
from support.worker_kit import PATIENCE, Bench, counters, query

KIB = 1024


async def throttle(bench: Bench, *arguments: str) -> Result:
    settings = bench.settings
    env = {
        "DB_HOST": settings.db_host,
        "DB_PORT": str(settings.db_port),
        "DB_NAME": settings.db_name,
        "DB_USER": settings.db_user,
        "DB_PASSWORD": settings.db_password.get_secret_value(),
    }
    return await asyncio.to_thread(CliRunner().invoke, cli, ["throttle", *arguments], env=env)


@pytest.mark.parametrize(
    ("rate", "bytes_per_second"),
    [("200MB", 200_000_000), ("1.5gb/s", 1_500_000_000), ("50MiB", 52_428_800), ("4096", 4096)],
)
async def test_a_rate_is_kept_for_all_workers(
    bench: Bench, rate: str, bytes_per_second: int
) -> None:
    result = await throttle(bench, rate)
    assert result.output == f"Each worker reads at most {bytes_per_second:,} bytes per second.\n"
    assert await ThrottleStore(bench.database).read() == bytes_per_second
    assert (await throttle(bench)).output == result.output


async def test_off_is_no_limit_and_default_is_each_workers_own(bench: Bench) -> None:
    await throttle(bench, "1MB")
    assert (await throttle(bench, "off")).output == "Each worker reads without a limit.\n"
    assert await ThrottleStore(bench.database).read() == 0
    result = await throttle(bench, "default")
    assert "its own WORKER_MAX_BYTES_PER_SECOND" in result.output
    assert await ThrottleStore(bench.database).read() is None
    assert (await throttle(bench, "default")).exit_code == 0


@pytest.mark.parametrize("rate", ["", "fast", "-1MB", "0", "0.5", "1e9", "9" * 30, "20 Mbit"])
async def test_what_is_no_rate_is_refused(bench: Bench, rate: str) -> None:
    result = await throttle(bench, "--", rate)
    assert result.exit_code == 2
    assert "200MB" in result.output
    assert await ThrottleStore(bench.database).read() is None


async def test_a_worker_follows_while_it_runs(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """At a byte per second nothing ends; without a limit everything does."""
    caplog.set_level(logging.INFO, "gateway.worker")
    await bench.index({f"a/{number}": 64 * KIB for number in range(50)})
    job_id = await bench.submit("a")
    async with bench.working(settings={"worker_max_bytes_per_second": 1}):
        await bench.watch(job_id, lambda job: job.status == "running")
        assert counters(bench.settings, job_id)[1] == 0
        await ThrottleStore(bench.database).write(0)
        await bench.end_of(job_id)
    assert counters(bench.settings, job_id)[:2] == ("completed", 50)
    said = [record.getMessage() for record in caplog.records]
    assert "reading at most 1 bytes per second" in said
    assert "reading without a limit" in said


async def test_a_worker_that_starts_later_keeps_to_it_from_its_first_byte(bench: Bench) -> None:
    await throttle(bench, "1")
    await bench.index({f"a/{number}": 64 * KIB for number in range(50)})
    job_id = await bench.submit("a")
    async with bench.working():
        await bench.watch(job_id, lambda job: job.status == "running")
        assert counters(bench.settings, job_id)[1] == 0
        query(bench.settings, "DELETE FROM teamcache_gateway.throttle")
        query(bench.settings, "NOTIFY teamcache_gateway_throttle")
        await bench.end_of(job_id)


async def test_a_throttled_job_is_cancelled_in_time(bench: Bench) -> None:
    await throttle(bench, "1")
    await bench.index({"a/large": 64 * KIB * 1000})
    job_id = await bench.submit("a")
    async with bench.working():
        await bench.watch(job_id, lambda job: job.status == "running")
        await bench.store.cancel(job_id)
        async with asyncio.timeout(PATIENCE):
            while query(bench.settings, "SELECT FROM cache_job_items WHERE status = 'running'"):
                await asyncio.sleep(0.05)
