"""``jobs``: the newest ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click
from rich.console import JustifyMethod, OverflowMethod
from rich.table import Table
from rich.text import Text

from gateway.cli.connection import Connection, client_command
from gateway.cli.formatting import age, print_json, printable, say
from gateway.cli.job_view import STYLES
from gateway.cli.tables import print_table, terminal_width
from gateway.client import GatewayClient, JobView
from gateway.formatting import readable_size

PAGE = 100
GAP = 1
# Names of keys are cut before a column is left out for them.
MAX_NAME_WIDTH = 16
# What a narrow terminal is not shown, the least wanted first.
MIN_PATH_WIDTH = ("BYTES", "AGE", "BY", "DONE", "FILES", "STATE")
# The key that the gateway was started with; a name that says nothing where there is no other.
ONLY_KEY = "default"


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
        print_table(_table(found, terminal_width()))
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


def _table(jobs: Sequence[JobView], width: int) -> Table:
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    columns = _fitting(_columns(jobs), width)
    for name, cells in columns.items():
        justify: JustifyMethod = "right" if name in ("FILES", "DONE", "BYTES", "AGE") else "left"
        # The last that is left is folded: an identifier that is cut is none.
        is_alone = len(columns) == 1
        how: OverflowMethod = "fold" if is_alone else "ellipsis"
        least = min(width, _width(name, cells))
        table.add_column(name, justify=justify, no_wrap=not is_alone, overflow=how, min_width=least)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def _fitting(columns: Mapping[str, Sequence[Text]], width: int) -> Mapping[str, Sequence[Text]]:
    """The columns that a line has room for."""
    shown = dict(columns)
    for name in MIN_PATH_WIDTH:
        if sum(_width(name, cells) + GAP for name, cells in shown.items()) - GAP > width:
            shown.pop(name, None)
    return shown


def _width(name: str, cells: Sequence[Text]) -> int:
    widest = max(len(name), *(cell.cell_len for cell in cells))
    return min(widest, MAX_NAME_WIDTH) if name == "BY" else widest


def _columns(jobs: Sequence[JobView]) -> Mapping[str, Sequence[Text]]:
    columns = {
        "JOB": [Text(printable(job.id)) for job in jobs],
        "STATE": [Text(printable(job.status), STYLES.get(job.status, "")) for job in jobs],
        "FILES": [Text(_files(job)) for job in jobs],
        "DONE": [Text(f"{job.percentage} %") for job in jobs],
        "BYTES": [Text(readable_size(job.total_bytes) if job.total_bytes else "") for job in jobs],
        "AGE": [Text(age(job.created_at)) for job in jobs],
    }
    if any((job.submitted_by or ONLY_KEY) != ONLY_KEY for job in jobs):
        columns["BY"] = [Text(printable(job.submitted_by or "")) for job in jobs]
    return columns


def _files(job: JobView) -> str:
    """Those that were read, of all; and how many failed."""
    read = f"{job.completed_files:,}"
    if job.completed_files != job.total_files:
        read += f"/{job.total_files:,}"
    return f"{read}, {job.failed_files:,} failed" if job.failed_files else read
