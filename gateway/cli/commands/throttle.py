"""``throttle``: how fast workers read, changed while they run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

from gateway.cli.settings_options import DATABASE, LOGS, settings_options
from gateway.database import Database, describe_outage
from gateway.errors import DatabaseUnavailable
from gateway.runtime.process import run
from gateway.settings import Settings
from gateway.settings.settings import MAX_BYTES_PER_SECOND
from gateway.standalone.postgres.running import find_running
from gateway.worker.throttle_store import ThrottleStore, describe_limit

RATE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]?)(i?)b?)(?:/s)?", re.IGNORECASE)
POWERS: Final = ("", "k", "m", "g", "t")
OFF: Final = 0
DEFAULT: Final = -1
WORDS: Final = {"off": OFF, "default": DEFAULT}


def _parse(_context: click.Context, _argument: click.Parameter, text: str | None) -> int | None:
    """Bytes per second as people write them; `OFF`, `DEFAULT`, or None if nothing was given."""
    if text is None:
        return None
    word = text.strip().lower()
    if word in WORDS:
        return WORDS[word]
    found = RATE.fullmatch(word)
    rate = 0 if found is None else _bytes_of(*found.groups())
    if not 1 <= rate <= MAX_BYTES_PER_SECOND:
        raise click.BadParameter(f"{text!r} is none: write 200MB, 1.5GB, 50MiB, off or default")
    return rate


@click.command()
@click.argument("rate", callback=_parse, required=False)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="data folder of a running standalone gateway, whose worker is meant",
)
@settings_options(*DATABASE, *LOGS)
def command(settings: Settings, rate: int | None, data_dir: Path | None) -> None:
    """Limit how many bytes per second each worker reads, from now on.

    RATE is 200MB, 1.5GB, 50MiB, …; off: no limit, also where a worker's settings have one;
    default: what each worker's settings say. Without RATE the limit is shown. Workers on all
    machines follow at once, and those that start later.

    \b
    Example:
      teamcache-gateway throttle 200MB
    """
    if data_dir is not None:
        host, port = find_running(data_dir)
        settings = settings.model_copy(update={"db_host": host, "db_port": port})
    try:
        limit = run(_throttle(settings, rate))
    except DatabaseUnavailable as error:
        raise click.ClickException(describe_outage(settings, error)) from None
    click.echo(_sentence(limit))


async def _throttle(settings: Settings, rate: int | None) -> int | None:
    async with Database(settings) as database:
        store = ThrottleStore(database)
        if rate is not None:
            await store.write(None if rate == DEFAULT else rate)
        return await store.read()


def _sentence(limit: int | None) -> str:
    if limit is None:
        return "Each worker reads as its own WORKER_MAX_BYTES_PER_SECOND says."
    return f"Each worker reads {describe_limit(limit)}."


def _bytes_of(number: str, power: str, binary: str) -> int:
    return int(float(number) * (1024 if binary else 1000) ** POWERS.index(power.lower()))
