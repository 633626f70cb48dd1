"""``worker``: reads files, serves nothing."""

from __future__ import annotations

import asyncio

import click

from gateway.cli.settings_options import DATABASE, FILESPACE, LOGS, WORKER, settings_options
from gateway.database import Database
from gateway.database.readiness import Readiness
from gateway.monitors.loop import running
from gateway.monitors.schema import SchemaMonitor
from gateway.runtime.process import run, stop_on_signals
from gateway.settings import Settings
from gateway.worker.worker import Worker


@click.command()
@settings_options(*DATABASE, *FILESPACE, *WORKER, *LOGS, leave_out=("allowed_paths",))
def command(settings: Settings) -> None:
    """Read the files of cache jobs through the mount.

    Several workers, on one machine or on many, share the jobs. On SIGTERM a worker gives back
    what it has not read, and ends.
    """
    run(_work(settings))


async def _work(settings: Settings) -> None:
    stop = stop_on_signals(settings.shutdown_timeout)
    schema = SchemaMonitor(settings, Readiness())
    async with running(schema):
        await _either(schema.done, stop)
    if not stop.is_set():
        async with Database(settings) as database:
            await Worker(settings, database).run(stop)


async def _either(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
