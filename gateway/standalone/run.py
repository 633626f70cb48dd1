"""Everything in one process: embedded PostgreSQL, index, worker, API."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
from aiohttp import web

from gateway.app import create_app
from gateway.database import Database
from gateway.errors import EmbeddedPostgresError, SettingsError
from gateway.http.app_keys import HUB, METRICS, PROMETHEUS, READINESS
from gateway.index.state import IndexState
from gateway.monitors.index import index_monitors
from gateway.monitors.loop import Monitor, running
from gateway.monitors.worker_throughput import WorkerThroughputMonitor
from gateway.server.listener import serve
from gateway.settings import Settings
from gateway.standalone.postgres import EmbeddedPostgres
from gateway.worker.worker import Worker

log = logging.getLogger(__name__)

# PostgreSQL does not run as root, and its account cannot enter root's home.
ROOT_DATA_DIR = Path("/var/lib/teamcache-gateway")
STOP_AGAIN_SECONDS = 0.5
LOOK_SECONDS = 0.2
FAILED_START_SECONDS = 2.0


def default_data_dir() -> Path:
    """Where the embedded PostgreSQL keeps its data unless told otherwise."""
    if os.geteuid() == 0:
        return ROOT_DATA_DIR
    return platformdirs.user_data_path("teamcache-gateway")


def check_apart(media: Path, data_dir: Path) -> None:
    """Raise `SettingsError` if one of the folders lies in the other.

    PostgreSQL's own files would be indexed and read with the media then.
    """
    inner, outer = media.resolve(), data_dir.expanduser().resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise SettingsError(
            f"The data folder {data_dir} and the media folder {media} must not lie in each other: "
            "choose another data folder with --data-dir"
        )


def rescan_command(media: str, data_dir: Path) -> str:
    """The command that brings a folder's index up to date by hand, beside a running gateway."""
    return shlex.join(["teamcache-gateway", "index", media, "--data-dir", str(data_dir.absolute())])


async def run_standalone(
    settings: Settings,
    data_dir: Path,
    stop: asyncio.Event,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Run until ``stop`` is set; then stop everything, PostgreSQL last.

    The files under ``settings.mount_points`` are indexed and read. The port opens at
    once: until PostgreSQL has started, which may take minutes after a crash, and the schema is up
    to date, requests are answered with 503. Raises `EmbeddedPostgresError`, `CannotListen`,
    `SettingsError`.
    """
    for mount_point in settings.mount_points:
        check_apart(Path(mount_point), data_dir)
    server = EmbeddedPostgres(data_dir, database=settings.db_name, user=settings.db_user)
    try:
        await asyncio.to_thread(server.prepare)
        settings = settings.model_copy(update={"db_host": server.host, "db_port": server.port})
        state = IndexState()
        app = create_app(settings, index=state)
        app[READINESS].expect_database_start()
        indexes = index_monitors(settings, state, lambda media: rescan_command(media, data_dir))
        working = asyncio.create_task(_work(server, app, settings, indexes, stop))
        # If there is no working any more, there is no use in serving.
        working.add_done_callback(lambda _: stop.set())
        try:
            await serve(app, settings, stop, on_listening)
        finally:
            stop.set()
            await working
    finally:
        await asyncio.to_thread(server.stop)


async def _work(
    server: EmbeddedPostgres,
    app: web.Application,
    settings: Settings,
    indexes: Sequence[Monitor],
    stop: asyncio.Event,
) -> None:
    """Run PostgreSQL, and on it, as soon as the schema is there, the index and the worker."""
    if not await _start(server, stop):
        return
    log.info("PostgreSQL runs, its socket is in %s", server.host)
    heartbeats = app[PROMETHEUS].heartbeats
    async with running(_PostgresMonitor(server), heartbeats):
        readiness = app[READINESS]
        readiness.database_started.set()
        if not await _unless(stop, readiness.wait()):
            return
        async with AsyncExitStack() as stack:
            worker = await stack.enter_async_context(_worker(settings))
            monitors = list(indexes)
            # A backend measures the throughput itself: two rates in turn would be no rate at all.
            if not settings.backend_ws_url:
                monitors.append(WorkerThroughputMonitor(worker, app[METRICS], app[HUB]))
            for monitor in monitors:
                await stack.enter_async_context(running(monitor, heartbeats))
            await stop.wait()


async def _start(server: EmbeddedPostgres, stop: asyncio.Event) -> bool:
    """Start PostgreSQL, which may take minutes after a crash; False if stopped meanwhile."""
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not stop.is_set():
        await starting
        return True
    # More than once: a start that had not yet begun would not have heard of it.
    while not starting.done():
        await asyncio.to_thread(server.stop)
        await asyncio.wait({starting}, timeout=STOP_AGAIN_SECONDS)
    with suppress(EmbeddedPostgresError):
        starting.result()
    return False


async def _unless(stop: asyncio.Event, waiting: Coroutine[Any, Any, object]) -> bool:
    """Wait; False if ``stop`` came first."""
    tasks = {asyncio.create_task(waiting), asyncio.create_task(stop.wait())}
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    return not stop.is_set()


class _PostgresMonitor(Monitor):
    """Starts PostgreSQL again if it ends by itself."""

    name = "embedded-postgres"
    # Everybody waits for it. One that cannot be started is not tried so often.
    interval = LOOK_SECONDS

    def __init__(self, server: EmbeddedPostgres) -> None:
        super().__init__()
        self._server = server

    async def check_once(self) -> bool:
        self.rest = FAILED_START_SECONDS
        await asyncio.to_thread(self._server.start)
        self.rest = 0.0
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
