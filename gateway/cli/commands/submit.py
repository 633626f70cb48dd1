"""``submit``: paths → a cache job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click

from gateway.cli.commands.watch import files_option, follow, patience_option
from gateway.cli.connection import Connection, client_command
from gateway.cli.exit_codes import ExitCode
from gateway.cli.formatting import counted, print_json, say, say_some
from gateway.cli.path_kinds import submit_paths
from gateway.cli.path_lists import paths_argument
from gateway.client import SubmittedJob
from gateway.formatting import readable_size


@click.command()
@paths_argument
@click.option("--watch", is_flag=True, help="watch the job to its end")
@click.option("--no-recursive", is_flag=True, help="leave out folders within the directories")
@click.option("--directory", is_flag=True, help="take paths that nobody knows for directories")
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="name this submit: the same key gives the same job again for 24 hours",
)
@files_option
@patience_option
@client_command
async def command(
    connection: Connection,
    paths: Sequence[str],
    watch: bool,
    no_recursive: bool,
    directory: bool,
    idempotency_key: str | None,
    files: bool,
    patience: float,
) -> ExitCode | None:
    """Get files and directories into the cache.

    A PATH is written as any machine sees it, or relative to the filespace; the gateway says which
    are directories. With - paths are read from standard input. With --watch the exit code says how
    the job ended: 0 completed, 6 completed with failed files, 1 failed, 3 cancelled.

    A submit that got no answer is sent again, and makes no second job. A script that may itself be
    run again names its submit with --idempotency-key.

    \b
    Examples:
      teamcache-gateway submit 01_VFX/SEQ_010 --watch
      teamcache-gateway submit /Volumes/tc-east-1/00_Media 'X:\\tc-east-1\\a.mov'
      find 01_VFX -name '*.exr' -print0 | teamcache-gateway submit -0 -
      JOB=$(teamcache-gateway submit 00_Media --json | jq -r .id)
    """
    try:
        job = await submit_paths(
            connection.client, paths, directory, not no_recursive, idempotency_key
        )
    except asyncio.CancelledError:
        say("Stopped while submitting. Whether there is a job, say: teamcache-gateway jobs")
        raise
    _tell_spellings(job)
    if not connection.as_json:
        click.echo(
            f"Job {job.id}: {counted(job.total_files, 'file')}, {readable_size(job.total_bytes)}"
        )
    if watch or files:
        return await follow(connection, await connection.client.status(job.id), files, patience)
    if connection.as_json:
        print_json(job)
    else:
        say(f"To watch it: teamcache-gateway watch {job.id}")
    return None


def _tell_spellings(job: SubmittedJob) -> None:
    say_some(
        "Found under another spelling:",
        [f"{path} → {resolved}" for path, resolved in job.matched.items()],
    )
    say_some("Not in the index, so read if they exist:", job.unindexed)
