"""``jobs``: the newest ones."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.table import Table
from rich.text import Text

from gateway.cli.connection import Connection, client_command
from gateway.cli.job_view import STYLES
from gateway.cli.tables import print_table
from gateway.cli.texts import age, print_json, printable, say
from gateway.client import GatewayClient, JobView
from gateway.wire import readable_size

PAGE = 100


@click.command()
@click.option("--status", type=click.Choice(list(STYLES)), help="only jobs in this state")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="so many at most"
)
@click.option("--all", "all_", is_flag=True, help="all there are, whatever --limit says")
@client_command
async def command(connection: Connection, status: str | None, limit: int, all_: bool) -> None:
    """List jobs, newest first.

    \b
    Examples:
      teamcache-gateway jobs
      teamcache-gateway jobs --status running --json | jq -r '.jobs[].id'
    """
    found, total = await _list(connection.client, status, None if all_ else limit)
    if connection.as_json:
        print_json({"jobs": found, "total": total})
    elif found:
        print_table(_table(found))
        if total > len(found):
            say(f"{len(found):,} of {total:,}; more with --limit or --all.")
    else:
        say("There are no jobs." if status is None else f"There are no {status} jobs.")


async def _list(
    client: GatewayClient, status: str | None, limit: int | None
) -> tuple[Sequence[JobView], int]:
    """The newest jobs, page by page; a job that new ones push to the next page counts once."""
    found: dict[str, JobView] = {}
    offset = 0
    while True:
        size = PAGE if limit is None else min(PAGE, limit - len(found))
        page, total = await client.jobs(status=status, limit=size, offset=offset)
        offset += len(page)
        found |= {job.id: job for job in page if job.id not in found}
        if not page or offset >= total or (limit is not None and len(found) >= limit):
            return list(found.values()), total


def _table(jobs: Sequence[JobView]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("JOB", no_wrap=True, min_width=36)
    table.add_column("STATE", no_wrap=True)
    for name in ("FILES", "DONE", "BYTES", "AGE"):
        table.add_column(name, justify="right", no_wrap=True)
    has_names = any(job.submitted_by for job in jobs)
    if has_names:
        table.add_column("BY", no_wrap=True, overflow="ellipsis")
    for job in jobs:
        by = [Text(printable(job.submitted_by or ""))] if has_names else []
        table.add_row(*_cells(job), *by)
    return table


def _cells(job: JobView) -> Sequence[Text]:
    done = job.completed_files
    files = f"{done:,}/{job.total_files:,}" if done != job.total_files else f"{done:,}"
    return (
        Text(job.id),
        Text(printable(job.status), STYLES.get(job.status, "")),
        Text(files),
        Text(f"{job.percentage} %"),
        Text(readable_size(job.total_bytes) if job.total_bytes else ""),
        Text(age(job.created_at)),
    )
