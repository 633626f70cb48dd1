"""Everything in one process: embedded PostgreSQL, index, worker, API."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import platformdirs

from gateway.app import create_app
from gateway.database import Database
from gateway.embedded_postgres import EmbeddedPostgres
from gateway.errors import EmbeddedPostgresError
from gateway.index_state import IndexState
from gateway.keys import HUB, METRICS, PROMETHEUS
from gateway.migrations import migrate
from gateway.monitors.index import IndexMonitor
from gateway.monitors.loop import Monitor, running
from gateway.monitors.worker_throughput import WorkerThroughputMonitor
from gateway.server import serve
from gateway.settings import Settings
from gateway.worker.worker import Worker

log = logging.getLogger(__name__)

# PostgreSQL does not run as root, and its account cannot enter root's home.
ROOT_DATA_DIR = Path("/var/lib/teamcache-gateway")


def default_data_dir() -> Path:
    """Where the embedded PostgreSQL keeps its data unless told otherwise."""
    if os.geteuid() == 0:
        return ROOT_DATA_DIR
    return platformdirs.user_data_path("teamcache-gateway")


async def run_standalone(
    settings: Settings,
    data_dir: Path,
    stop: asyncio.Event,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Run until ``stop`` is set; then stop everything, PostgreSQL last.

    The files under ``settings.container_mount_point`` are indexed and read. Raises
    `EmbeddedPostgresError`, `CannotListen`.
    """
    async with _embedded_database(settings, data_dir, stop) as connected:
        if connected is None:
            return
        settings = connected
        await migrate(settings)
        state = IndexState()
        app = create_app(settings, index=state)
        async with AsyncExitStack() as stack:
            worker = await stack.enter_async_context(_worker(settings))
            monitors: list[Monitor] = [IndexMonitor(settings, state)]
            # A backend measures the throughput itself: two rates in turn would be no rate at all.
            if not settings.backend_ws_url:
                monitors.append(WorkerThroughputMonitor(worker, app[METRICS], app[HUB]))
            for monitor in monitors:
                app[PROMETHEUS].pulses[monitor.name] = monitor.pulse
                await stack.enter_async_context(running(monitor))
            await serve(app, settings, stop, on_listening)


@asynccontextmanager
async def _embedded_database(
    settings: Settings, data_dir: Path, stop: asyncio.Event
) -> AsyncIterator[Settings | None]:
    """Run PostgreSQL as long as the context lasts; gives the settings that lead to it.

    None if ``stop`` was set while it started.
    """
    server = EmbeddedPostgres(data_dir, database=settings.db_name, user=settings.db_user)
    try:
        if not await _start(server, stop):
            yield None
            return
        log.info("PostgreSQL: %s (data in %s)", server.host, data_dir)
        async with running(_PostgresMonitor(server)):
            yield settings.model_copy(update={"db_host": server.host, "db_port": server.port})
    finally:
        await asyncio.to_thread(server.stop)


async def _start(server: EmbeddedPostgres, stop: asyncio.Event) -> bool:
    """Start PostgreSQL, which may take minutes after a crash; False if stopped meanwhile."""
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not stop.is_set():
        await starting
        return True
    await asyncio.to_thread(server.stop)
    with suppress(EmbeddedPostgresError):
        await starting
    return False


class _PostgresMonitor(Monitor):
    """Starts PostgreSQL again if it ends by itself."""

    name = "embedded-postgres"
    interval = 2.0

    def __init__(self, server: EmbeddedPostgres) -> None:
        super().__init__()
        self._server = server

    async def check_once(self) -> bool:
        await asyncio.to_thread(self._server.start)
        return False


@asynccontextmanager
async def _worker(settings: Settings) -> AsyncIterator[Worker]:
    """A worker beside the API. PostgreSQL is ours, so no other worker can have outlived us."""
    stop = asyncio.Event()
    async with Database(settings) as database:
        worker = Worker(settings, database, is_alone=True)
        task = asyncio.create_task(worker.run(stop))
        try:
            yield worker
        finally:
            stop.set()
            await task
