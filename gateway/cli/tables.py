"""Tables for people."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

# Wider than any line.
UNCUT = 10_000


def print_table(table: Table) -> None:
    """A table as wide as the terminal; what goes into a file is not cut."""
    console = Console(highlight=False, width=terminal_width())
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def terminal_width() -> int:
    """How many cells a line has; no end of them where there is no terminal."""
    console = Console()
    return console.width if console.is_terminal else UNCUT
