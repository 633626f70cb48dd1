"""``watch``: a job to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

import click
from rich.console import Console

from gateway.cli.connection import Connection, client_command
from gateway.cli.exit_codes import ExitCode, code_of
from gateway.cli.file_results import FileEnds
from gateway.cli.formatting import say
from gateway.cli.job_ids import whole_id
from gateway.cli.job_view import JobDisplay, JsonLines, displaying, why
from gateway.client import GatewayClient, JobView

files_option = click.option(
    "--files", is_flag=True, help="tell of each file too that is read or fails, or was by now"
)
patience_option = click.option(
    "--patience",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=300.0,
    help="how long to try again when the gateway goes away  [default: 300]",
)


@click.command()
@click.argument("job_id", metavar="JOB")
@files_option
@patience_option
@client_command
async def command(connection: Connection, job_id: str, files: bool, patience: float) -> ExitCode:
    """Watch a job to its end: a progress bar on a terminal, else a line for what changed.

    Ctrl-C ends the watching, not the job. Exit code: 0 completed, 6 completed with failed files,
    1 failed, 3 cancelled, 4 not reachable, 5 refused.

    \b
    Examples:
      teamcache-gateway watch 6bb4629b-1487-477c-96fe-b762d82a099b
      teamcache-gateway watch "$JOB" --files > job.log && start-render
      teamcache-gateway watch "$JOB" --json | jq .job.percentage
    """
    # Whatever is wrong is told at once: a watch tries again for long.
    job = await connection.client.status(await whole_id(connection.client, job_id))
    return await follow(connection, job, files, patience)


async def follow(connection: Connection, job: JobView, files: bool, patience: float) -> ExitCode:
    """Show the job until it has ended; how it ended is the exit code."""
    try:
        with _display(connection.as_json) as display:
            job = await _show(connection.client, display, job, files, patience)
    except asyncio.CancelledError:
        say(f"The job goes on. To cancel it:\n  teamcache-gateway cancel {job.id}")
        raise
    if reason := why(job):
        say(reason)
    return code_of(job)


async def _show(
    client: GatewayClient, display: JobDisplay, job: JobView, files: bool, patience: float
) -> JobView:
    """Show each change; returns the job as it ended."""

    def lost() -> None:
        display.tell("The connection is lost; trying again.")

    changes = client.watch(job.id, files=files, patience=patience, on_lost=lost)
    ends = FileEnds(client, files)
    async with aclosing(changes):
        async for change in changes:
            job = change.job
            async for missed in ends.missed_before(change):
                display.show(missed)
            if ends.is_new(change.file):
                display.show(change)
    return job


@contextmanager
def _display(as_json: bool) -> Iterator[JobDisplay]:
    if as_json:
        yield JsonLines()
        return
    with displaying(Console(highlight=False)) as display:
        yield display
