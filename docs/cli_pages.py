"""The reference of the command line: what ``--help`` says, and the exit codes."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping

import click

from docs.markdown import fenced
from gateway.cli import RUNNING, USING, cli

WIDTH = 100
PROGRAM = "teamcache-gateway"


def commands_reference(commands: Mapping[str, str]) -> str:
    """Each command's help."""
    with click.Context(cli, info_name=PROGRAM) as parent:
        return "\n".join(
            f"### {name}\n\n{fenced('text', text)}"
            for command in commands
            for name, text in _helps(command, cli, parent)
        )


def _helps(name: str, group: click.Group, parent: click.Context) -> Iterator[tuple[str, str]]:
    """A command's help, and that of the commands in it."""
    command = group.get_command(parent, name)
    if command is None:
        raise KeyError(name)
    command = copy.copy(command)
    # Click keeps the help option of the first context in which a command was used.
    command._help_option = None
    with click.Context(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
    ) as context:
        text = re.sub(r"[ \t]+$", "", command.get_help(context), flags=re.MULTILINE)
        yield context.command_path.removeprefix(f"{PROGRAM} "), text
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                yield from _helps(inner, command, context)


def running_reference() -> str:
    """The commands that run a gateway."""
    return commands_reference(RUNNING)


def using_reference() -> str:
    """The commands that use one."""
    return commands_reference(USING)
