"""The command line: one small file a command."""

from __future__ import annotations

import importlib
import os
import sys

import click
from click.shell_completion import CompletionItem

from gateway.errors import GatewayError, MigrationRequired, SettingsError, StatementFailed
from gateway.runtime.garbage import tune_gc

# Commands by name, with what the list shows; each lives in the module of its name, and is
# imported only when it is used.
RUNNING = {
    "serve": "Serve the API beside TeamCache Manager's database.",
    "worker": "Read the files of cache jobs through the mount.",
    "index": "Bring the index of files up to date with a folder.",
    "keys": "Make, list and revoke API keys.",
    "throttle": "Limit how fast workers read, while they run.",
    "migrate": "Bring the database schema up to date.",
    "standalone": "Run everything on one machine: PostgreSQL, index, worker, API.",
    "demo": "Watch a cache job run on a small sample, with nothing installed.",
}
USING = {
    "submit": "Get files and directories into the cache.",
    "watch": "Watch a job to its end.",
    "jobs": "List jobs, newest first.",
    "job": "Show a job, or what became of its files.",
    "cancel": "Cancel a job that has not ended.",
    "resolve": "Say what paths mean to the gateway, caching nothing.",
    "health": "Say whether the gateway is well.",
    "smoke": "Try every endpoint of a live gateway and say what works.",
    "completion": "Print what makes the shell complete commands.",
}
COMMANDS = {**RUNNING, **USING}


class _Commands(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"gateway.cli.commands.{name}").command
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, commands in (("Run a gateway", RUNNING), ("Use a gateway", USING)):
            with formatter.section(heading):
                formatter.write_dl(list(commands.items()), col_max=12)

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        # Without this each command would be imported to be asked whether it is hidden.
        if incomplete.startswith("-"):
            return super().shell_complete(context, incomplete)
        return [
            CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="teamcache-gateway")
def cli() -> None:
    """TeamCache gateway: cache jobs over REST, with progress in files and bytes.

    \b
    Try it:           teamcache-gateway demo
    On one machine:   teamcache-gateway standalone --media /mnt/filespace
    Beside Manager:   DB_HOST=postgres API_GATEWAY_KEY=... teamcache-gateway serve
    Get files ready:  teamcache-gateway submit 01_VFX/SEQ_010 --watch
    """


def main() -> None:
    """Run the command line; an error of ours is one sentence on standard error, and code 1.

    A wrong setting ends with code 2, as a wrong option does: starting again would not help.
    """
    tune_gc()
    try:
        # However it was called: help and completion speak of the program.
        cli(prog_name="teamcache-gateway")
    except OSError as error:
        if not _is_of_output():
            raise
        print(f"Error: Standard output cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    except MigrationRequired as error:
        print(f"Error: {error.message}:\n", file=sys.stderr)
        print("\n".join(error.statements), file=sys.stderr)
        sys.exit(1)
    except GatewayError as error:
        print(f"Error: {_sentence(error)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, SettingsError) else 1)


def _is_of_output() -> bool:
    """Whether standard output is what fails: it does so again. What it holds is then let go."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _sentence(error: GatewayError) -> str:
    if isinstance(error, StatementFailed):
        from gateway.database.errors import first_line

        return f"PostgreSQL refused a statement: {first_line(error)}"
    return error.message
