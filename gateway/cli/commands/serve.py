"""``serve``: the gateway alone."""

from __future__ import annotations

import click

from gateway.app import create_app
from gateway.cli.settings_options import (
    API,
    AUDIT,
    DATABASE,
    FILESPACE,
    LOGS,
    WATCHED,
    settings_options,
)
from gateway.runtime.process import run, stop_on_signals
from gateway.server.listener import serve
from gateway.settings import Settings


@click.command()
@settings_options(*API, *DATABASE, *FILESPACE, *WATCHED, *AUDIT, *LOGS)
def command(settings: Settings) -> None:
    """Serve the API beside TeamCache Manager's database.

    The port opens at once; requests are answered with 503 until the schema is up to date.
    The API key comes from API_GATEWAY_KEY, the database's password from DB_PASSWORD.
    """
    run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = stop_on_signals(settings.shutdown_timeout)
    await serve(create_app(settings), settings, stop)
