"""kill -9 of the embedded PostgreSQL at random moments, under clients and a worker that go on."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from gateway.settings import Settings
from gateway.standalone.postgres.shutdown import PidFile, read_pid_file
from support.standalone_kit import Place, client_of
from support.torture_kit import (
    MOMENTS,
    PATIENCE,
    Orders,
    assert_jobs_are_whole,
    draw_moments,
    drawn,
    index_of_orders,
    torture,
)
from support.worker_kit import query, write_tree

pytestmark = [pytest.mark.torture, torture()]
CLIENTS = 8
UNFINISHED = "SELECT id FROM cache_jobs WHERE status IN ('pending', 'running')"
MISCOUNTED = """
SELECT id FROM cache_jobs
WHERE status <> 'completed' OR failed_files <> 0 OR completed_files <> total_files
   OR completed_size_bytes <> total_size_bytes
"""
UNREAD = "SELECT id FROM cache_job_items WHERE status <> 'completed'"


async def running_server(place: Place, before: int = 0) -> PidFile:
    """The server, once another than ``before`` accepts connections."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = read_pid_file(place.data / "postgres")
            if found is not None and found.is_ready and found.pid != before:
                return found
            await asyncio.sleep(0.02)


async def all_have_ended(settings: Settings) -> None:
    async with asyncio.timeout(2 * PATIENCE):
        while query(settings, UNFINISHED):
            await asyncio.sleep(0.1)


async def test_postgres_that_is_killed_takes_no_answered_job_with_it(place: Place) -> None:
    rng = drawn("postgres")
    write_tree(place.media, index_of_orders())
    orders = Orders(rng, directories=["small", "middle"])
    async with place.running() as standalone:
        async with client_of(standalone) as client, asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(orders.keep_submitting([client], [orders.sent]))
            server = PidFile(0, 0, "", "")
            for moment in draw_moments(rng, events=15, seconds=0.05):
                server = await running_server(place, server.pid)
                await orders.news.reaches(moment)
                os.kill(server.pid, signal.SIGKILL)
            orders.stopping.set()
        server = await running_server(place, server.pid)
        settings = Settings(
            db_host=server.socket_folder,
            db_port=server.port,
            db_name="teamcache_db",
            db_user="teamcache_user",
            container_mount_point=str(place.media),
        )
        await all_have_ended(settings)
        assert_jobs_are_whole(settings, orders)
        assert query(settings, MISCOUNTED) == query(settings, UNREAD) == []
        assert await standalone.stop() == 0
    assert not place.has_postgres()
    print(f"killed {MOMENTS} times")
