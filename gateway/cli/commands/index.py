"""``index``: a folder → the index of files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from gateway.cli.settings_options import DATABASE, FILESPACE, INDEX, LOGS, settings_options
from gateway.database import describe_outage
from gateway.errors import DatabaseUnavailable, GatewayError, IndexRefused
from gateway.index.indexer import Indexer, IndexProgress, IndexResult
from gateway.runtime.process import run, stop_on_signals
from gateway.settings import Settings
from gateway.standalone.postgres.running import find_running

REFRESH_SECONDS = 0.1
LEFT_OUT = ("allowed_paths", "index_interval")


@click.command()
@click.argument("directory", metavar="[DIR]", required=False)
@click.option("--allow-empty", is_flag=True, help="remove rows even if nearly all would go")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="data folder of a running standalone gateway, whose index is meant; DIR is its --media, "
    "or a folder below it together with --container-mount-point, if no filespaces are listed",
)
@settings_options(*DATABASE, *FILESPACE, *INDEX, *LOGS, leave_out=LEFT_OUT)
def command(
    settings: Settings, directory: str | None, *, allow_empty: bool, data_dir: Path | None
) -> None:
    """Bring the index of files up to date with DIR, a mount point or a folder below one.

    Without DIR every filespace is indexed, one after the other. New files are added, changed ones
    updated, vanished ones removed. Run it again at any time.

    \b
    Beside a running standalone gateway:
      teamcache-gateway index /mnt/filespace --data-dir /var/lib/teamcache-gateway
    """
    directories = settings.mount_points if directory is None else (os.path.abspath(directory),)
    if data_dir is not None:
        settings = _lead_to(data_dir, directory, settings)
    try:
        run(_index_each(settings, directories, allow_empty))
    except DatabaseUnavailable as error:
        raise click.ClickException(describe_outage(settings, error)) from None


def _lead_to(data_dir: Path, directory: str | None, settings: Settings) -> Settings:
    """The settings that lead to the PostgreSQL of a running standalone gateway."""
    if directory is None and not settings.filespaces:
        raise click.UsageError("Missing argument 'DIR': the --media of the running gateway.")
    host, port = find_running(data_dir)
    update: dict[str, str | int] = {"db_host": host, "db_port": port}
    # The default stands in config.toml too, and is for `serve`: it was not given for this.
    default = Settings.model_fields["container_mount_point"].default
    if directory is not None and settings.container_mount_point == default:
        update["container_mount_point"] = os.path.abspath(directory)
    return settings.model_copy(update=update)


async def _index_each(settings: Settings, directories: Sequence[str], allow_empty: bool) -> None:
    """Index one after the other; what is refused is told at the end, and keeps no other."""
    refusals: list[GatewayError] = []
    for directory in directories:
        try:
            result = await _index(settings, directory, allow_empty)
        except IndexRefused as error:
            refusals.append(error)
            continue
        if result is None:
            click.echo("Stopped: nothing was changed.", err=True)
            return
        _report(result, _named(settings, directory))
    if refusals:
        raise IndexRefused("; ".join(error.message for error in refusals))


async def _index(settings: Settings, directory: str, allow_empty: bool) -> IndexResult | None:
    """Index until done, or until a signal: None then, and nothing was changed."""
    progress = IndexProgress()
    stopped = asyncio.create_task(stop_on_signals().wait())
    indexing = asyncio.create_task(
        Indexer(settings).index(directory, allow_empty=allow_empty, progress=progress)
    )
    showing = asyncio.create_task(_show(progress))
    await asyncio.wait({indexing, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for task in (showing, stopped, *(() if indexing.done() else (indexing,))):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return None if indexing.cancelled() else indexing.result()


async def _show(progress: IndexProgress) -> None:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,} entries"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        while True:
            bar.update(task, description=progress.phase, completed=progress.entries)
            await asyncio.sleep(REFRESH_SECONDS)


def _named(settings: Settings, directory: str) -> str:
    """Which filespace it is, where there are several."""
    names = {it.mount_point: it.name for it in settings.filespaces}
    return f"{names.get(directory, directory)}: " if len(names) > 1 else ""


def _report(result: IndexResult, name: str) -> None:
    click.echo(
        f"{name}{result.files:,} files in {result.directories:,} directories: "
        f"{result.added:,} added, {result.changed:,} changed, {result.removed:,} removed "
        f"in {result.seconds:.1f} s"
    )
    for problem in result.problems:
        click.echo(f"skipped {problem.path}: {problem.reason}", err=True)
    if more := result.problem_count - len(result.problems):
        click.echo(f"skipped {more:,} more", err=True)
