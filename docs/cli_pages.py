"""The reference of the command line: what ``--help`` says, and the exit codes."""

from __future__ import annotations

import re
from collections.abc import Mapping

import click

from docs.markdown import fenced
from gateway.cli import RUNNING, USING, cli

WIDTH = 100
PROGRAM = "teamcache-gateway"


def commands_reference(commands: Mapping[str, str]) -> str:
    """Each command's help."""
    with click.Context(cli, info_name=PROGRAM) as parent:
        return "\n".join(
            f"### {name}\n\n{fenced('text', _help(name, parent))}" for name in commands
        )


def _help(name: str, parent: click.Context) -> str:
    command = cli.get_command(parent, name)
    if command is None:
        raise KeyError(name)
    with click.Context(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
    ) as context:
        text = command.get_help(context)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def running_reference() -> str:
    """The commands that run a gateway."""
    return commands_reference(RUNNING)


def using_reference() -> str:
    """The commands that use one."""
    return commands_reference(USING)
