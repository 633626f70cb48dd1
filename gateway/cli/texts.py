"""How the commands write what they tell: for people, and as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from typing import Any

import click

from gateway.wire import iso_time

LISTED = 20


def write_what_can_be_shown() -> None:
    """Have a terminal without Unicode show what it can, and escape the rest."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """``text`` on one line, without what would command the terminal: names of files hold all."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def say(text: str) -> None:
    """A message beside the output."""
    click.echo(text, err=True)


def say_some(heading: str, lines: Sequence[str]) -> None:
    """A heading and what belongs to it, the first of many."""
    if not lines:
        return
    say(heading)
    for line in lines[:LISTED]:
        say(f"  {printable(line)}")
    if len(lines) > LISTED:
        say(f"  … and {len(lines) - LISTED:,} more")


def print_json(value: Any) -> None:
    """One JSON document on one line of standard output."""
    text = json.dumps(jsonable(value), ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(jsonable(value))
    click.echo(text)


def jsonable(value: Any) -> Any:
    """A view as the API would write it: names in camelCase, times in ISO 8601."""
    if is_dataclass(value) and not isinstance(value, type):
        return {_camel(f.name): jsonable(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: jsonable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(one) for one in value]
    return iso_time(value) if isinstance(value, datetime) else value


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def counted(number: int, thing: str) -> str:
    """``1 file``, ``1,203 files``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def span(seconds: float) -> str:
    """A time in one unit: ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length or (seconds >= length and unit != "min"):
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def age(moment: datetime | None) -> str:
    """How long ago ``moment`` was; empty if there is none."""
    return span((datetime.now(UTC) - moment).total_seconds()) if moment else ""


def moment_and_age(moment: datetime | None) -> str:
    """``2026-11-24 10:23:00 (3 min ago)`` in this machine's time; empty if there is none."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S} ({age(moment)} ago)" if moment else ""


def print_rows(rows: Mapping[str, str]) -> None:
    """Names and values, one a line; what is empty is left out."""
    shown = {name: value for name, value in rows.items() if value}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        click.echo(f"{name:<{width}}  {printable(value)}")
