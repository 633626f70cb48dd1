"""Paths as a user gives them: on the command line, in a file, on standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from gateway.cli.exit_codes import ExitCode
from gateway.cli.formatting import printable

Command = Callable[..., Any]


def paths_argument(command: Command) -> Command:
    """Give a command ``paths``: all that are named, and those that are read from elsewhere."""

    @wraps(command)
    def wrapped(paths: Sequence[str], from_file: Path | None, null: bool, **options: Any) -> Any:
        # Before there is an event loop, in which Ctrl-C would end no reading of a terminal.
        try:
            found = read_paths(paths, from_file, null)
        except KeyboardInterrupt:
            sys.exit(ExitCode.INTERRUPTED)
        return command(paths=found, **options)

    decorated: Command = wrapped
    for option in (
        click.option(
            "-0", "--null", is_flag=True, help="paths that are read are ended by NUL, not by line"
        ),
        click.option(
            "--from-file",
            metavar="FILE",
            type=click.Path(path_type=Path, allow_dash=True),
            help="read paths from FILE, one a line; - for standard input",
        ),
        click.argument("paths", metavar="PATH...", nargs=-1),
    ):
        decorated = option(decorated)
    return decorated


def read_paths(paths: Sequence[str], from_file: Path | None, null: bool) -> Sequence[str]:
    """All the paths in their order, each once. Raises `click.UsageError` where there is none."""
    found: list[str] = []
    for path in paths:
        found += _read(Path("-"), null) if path == "-" else [path]
    if from_file is not None:
        found += _read(from_file, null)
    if not found:
        raise click.UsageError(
            "At least one path is needed: name it, or read some with --from-file"
        )
    for path in found:
        _check(path)
    return list(dict.fromkeys(found))


def _read(file: Path, null: bool) -> Sequence[str]:
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from None
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    if null:
        return [path for path in text.split("\0") if path]
    # Only these end a line: names may hold what Unicode counts as an end, too.
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


def _check(path: str) -> None:
    """What JSON cannot carry the index cannot hold either."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        shown = printable(path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
        raise click.UsageError(f"{shown[:200]!r} is no UTF-8, as names in the index are") from None
