"""``migrate``: the schema, now."""

from __future__ import annotations

import click

from gateway.cli.settings_options import DATABASE, LOGS, settings_options
from gateway.database import describe_outage
from gateway.database.migrations import migrate, pending_statements
from gateway.errors import DatabaseUnavailable
from gateway.runtime.process import run
from gateway.settings import Settings


@click.command()
@settings_options(*DATABASE, *LOGS)
@click.option("--sql", is_flag=True, help="print the statements that are missing, change nothing")
@click.option("--grant-to", metavar="ROLE", help="with --sql: the role that the gateway runs as")
def command(settings: Settings, *, sql: bool, grant_to: str | None) -> None:
    """Bring the database schema up to date. Nothing is ever removed or rewritten.

    Where TeamCache Manager's tables belong to another role, run it with that role's
    credentials, or give its owner what --sql prints.
    """
    try:
        if sql:
            _print(settings, grant_to)
        else:
            _migrate(settings)
    except DatabaseUnavailable as error:
        raise click.ClickException(describe_outage(settings, error)) from None


def _print(settings: Settings, role: str | None) -> None:
    statements = run(pending_statements(settings, role or settings.db_user))
    # A comment: what is printed may go straight into psql.
    for statement in statements or ["-- Nothing is missing."]:
        click.echo(statement)


def _migrate(settings: Settings) -> None:
    for step in run(migrate(settings)):
        click.echo(f"added: {step}")
    click.echo("The schema is up to date.")
