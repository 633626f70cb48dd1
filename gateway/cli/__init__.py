"""The command line: one small file a command."""

from __future__ import annotations

import importlib
import sys

import click

from gateway.errors import GatewayError, MigrationRequired, SettingsError

# Commands by name, with what the list shows; each lives in the module of its name, and is
# imported only when it is used.
COMMANDS = {
    "serve": "Serve the API beside TeamCache Manager's database.",
    "worker": "Read the files of cache jobs through the mount.",
    "index": "Bring the index of files up to date with a folder.",
    "migrate": "Bring the database schema up to date.",
    "standalone": "Run everything on one machine: PostgreSQL, index, worker, API.",
    "demo": "Watch a cache job run on a small sample, with nothing installed.",
}


class _Commands(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"gateway.cli.{name}").command
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="teamcache-gateway")
def cli() -> None:
    """TeamCache gateway: cache jobs over REST, with progress in files and bytes.

    \b
    Try it:           teamcache-gateway demo
    On one machine:   teamcache-gateway standalone --media /mnt/filespace
    Beside Manager:   DB_HOST=postgres API_GATEWAY_KEY=... teamcache-gateway serve
    """


def main() -> None:
    """Run the command line; an error of ours is one sentence on standard error, and code 1.

    A wrong setting ends with code 2, as a wrong option does: starting again would not help.
    """
    try:
        cli()
    except MigrationRequired as error:
        print(f"Error: {error.message}:\n", file=sys.stderr)
        print("\n".join(error.statements), file=sys.stderr)
        sys.exit(1)
    except GatewayError as error:
        print(f"Error: {_sentence(error)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, SettingsError) else 1)


def _sentence(error: GatewayError) -> str:
    from gateway.database_errors import StatementFailed, first_line

    if isinstance(error, StatementFailed):
        return f"PostgreSQL refused a statement: {first_line(error)}"
    return error.message
