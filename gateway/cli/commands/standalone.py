"""``standalone``: everything on one machine."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.cli.settings_options import (
    API,
    AUDIT,
    FILESPACE,
    INDEX,
    LOGS,
    WATCHED,
    WORKER,
    settings_options,
)
from gateway.runtime.process import run, stop_on_signals
from gateway.settings import Settings
from gateway.standalone.run import default_data_dir, run_standalone

REPLACED = ("container_mount_point", "api_gateway_port")

# What PostgreSQL may take to stop, in seconds.
POSTGRES_SECONDS = 60.0


@click.command()
@click.option(
    "--media",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="the folder whose files can be cached: where the filespace is mounted; not "
    "to be given if the settings list filespaces",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="where the embedded PostgreSQL keeps its data  [default: your data folder; "
    "for root /var/lib/teamcache-gateway]",
)
@click.option(
    "--port",
    "--api-gateway-port",
    "port",
    type=click.IntRange(0, 65535),
    help="port to listen on  [default: 8095]",
)
@settings_options(*API, *FILESPACE, *WATCHED, *WORKER, *INDEX, *AUDIT, *LOGS, leave_out=REPLACED)
def command(
    settings: Settings, media: Path | None, data_dir: Path | None, port: int | None
) -> None:
    """Run everything on one machine: PostgreSQL, index, worker, API.

    \b
    Example:
      teamcache-gateway standalone --media /mnt/filespace --port 8095

    Nothing else has to be installed. It listens on 127.0.0.1 unless --api-gateway-host or
    API_GATEWAY_HOST says otherwise. Ctrl-C stops all of it; the data is kept.
    """
    update = _mount_point(settings, media)
    if port is not None:
        update["api_gateway_port"] = port
    if not settings.api_gateway_host:
        update["api_gateway_host"] = "127.0.0.1"
    run(_run(settings.model_copy(update=update), data_dir or default_data_dir()))


def _mount_point(settings: Settings, media: Path | None) -> dict[str, str | int]:
    """The setting that ``--media`` stands for; UsageError if it is missing, or one too many."""
    if settings.filespaces and media is not None:
        names = ", ".join(filespace.name for filespace in settings.filespaces)
        raise click.UsageError(
            f"--media names the one filespace, but the settings list filespaces ({names}), each"
            " with its own mount point: leave one of the two out"
        )
    if settings.filespaces:
        return {}
    if media is None:
        raise click.UsageError("Missing option '--media', as the settings list no filespaces.")
    return {"container_mount_point": os.path.abspath(media)}


async def _run(settings: Settings, data_dir: Path) -> None:
    # PostgreSQL stops after the rest, and should not be left behind.
    stop = stop_on_signals(2 * settings.shutdown_timeout + POSTGRES_SECONDS)
    await run_standalone(settings, data_dir, stop)
