"""Tables for people."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

# Wider than any line.
UNCUT = 10_000


def print_table(table: Table) -> None:
    """A table as wide as the terminal; what goes into a file is not cut."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=UNCUT)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
