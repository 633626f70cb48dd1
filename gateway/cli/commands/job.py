"""``job``: one job, or its files."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gateway.cli.connection import Connection, client_command
from gateway.cli.formatting import (
    moment_and_age,
    print_json,
    print_rows,
    printable,
    printable_path,
    say,
    span,
)
from gateway.cli.job_ids import whole_id
from gateway.cli.job_view import files_of, size_of
from gateway.cli.path_kinds import NOT_FOUND
from gateway.client import GatewayClientError, JobFileView, JobView
from gateway.formatting import readable_rate, readable_size

FILE_STATES = ("pending", "running", "completed", "failed", "cancelled")
PAGE = 1000


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--files", is_flag=True, help="list its files instead")
@click.option("--status", type=click.Choice(FILE_STATES), help="only files in this state")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="so many files at most",
)
@click.option("--all", "all_", is_flag=True, help="all files, whatever --limit says")
@client_command
async def command(
    connection: Connection, job_id: str, files: bool, status: str | None, limit: int, all_: bool
) -> None:
    """Show a job, or with --files what became of its files.

    Done is the mean of the files and the bytes that ended; a file that failed counts as ended.

    \b
    Examples:
      teamcache-gateway job 6bb4629b-1487-477c-96fe-b762d82a099b
      teamcache-gateway job "$JOB" --files --status failed --all
      teamcache-gateway job "$JOB" --json | jq .percentage
    """
    job = await connection.client.status(await whole_id(connection.client, job_id))
    if files or status is not None:
        await _show_files(connection, job, status, None if all_ else limit)
    elif connection.as_json:
        print_json(job)
    else:
        print_rows(_rows(job))


def _rows(job: JobView) -> dict[str, str]:
    return {
        "Job": job.id,
        "State": job.status,
        "Done": _done(job),
        "Files": files_of(job, " of "),
        "Bytes": size_of(job, " of "),
        "Throughput": "" if job.mbps is None else readable_rate(job.mbps),
        "Left": "" if job.seconds_left is None else f"about {span(job.seconds_left)}",
        "By": job.submitted_by or "",
        "Created": moment_and_age(job.created_at),
        "Started": moment_and_age(job.started_at),
        "Ended": moment_and_age(job.completed_at),
        "Error": job.error or "",
    }


def _done(job: JobView) -> str:
    """The percentage, and what it is the mean of."""
    if job.file_percentage is None or job.size_percentage is None:
        return f"{job.percentage} %"
    parts = f"files {job.file_percentage} %, bytes {job.size_percentage} %"
    return f"{job.percentage} % (mean of {parts})"


async def _show_files(
    connection: Connection, job: JobView, status: str | None, limit: int | None
) -> None:
    found, total = await _list(connection, job.id, status, limit)
    if connection.as_json:
        print_json({"jobId": job.id, "files": found, "total": total})
        return
    for file in found:
        click.echo(_line(file))
    if total > len(found):
        say(f"{len(found):,} of {total:,} files; more with --limit or --all.")
    elif not found:
        say("The job has no such files.")


async def _list(
    connection: Connection, job_id: str, status: str | None, limit: int | None
) -> tuple[Sequence[JobFileView], int]:
    found: list[JobFileView] = []
    while True:
        size = PAGE if limit is None else min(PAGE, limit - len(found))
        try:
            page, total = await connection.client.files(
                job_id, status=status, limit=size, offset=len(found)
            )
        except GatewayClientError as error:
            # The job is there, it was just read.
            if error.status != NOT_FOUND:
                raise
            raise GatewayClientError(
                "This gateway does not list the files of a job: it is older than this program",
                NOT_FOUND,
            ) from None
        found += page
        if not page or len(found) >= total or (limit is not None and len(found) >= limit):
            return found, total


def _line(file: JobFileView) -> str:
    read = readable_size(file.size)
    if file.status == "running":
        read = f"{readable_size(file.bytes_read)} of {read}"
    elif file.status in ("cancelled", "failed") and file.size:
        read = f"{readable_size(file.bytes_read)} of {read} read"
    took = "" if file.seconds is None else f" in {span(file.seconds)}"
    error = "" if file.error is None else f": {printable(file.error)}"
    return f"{file.status:<9}  {printable_path(file.path)} ({read}{took}){error}"
