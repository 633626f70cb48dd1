"""How the commands write what they tell: for people, and as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from typing import Any
from unicodedata import category

import click

from gateway.client.models import WIRE_NAME
from gateway.formatting import escaped, iso_time

LISTED = 20
QUOTES = tuple("'\"")
JOINER = "\u200d"
# The variation selector that asks for an emoji's picture.
COLOURED = "\ufe0f"


def write_what_can_be_shown() -> None:
    """Have a terminal without Unicode show what it can, and escape the rest."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """``text`` on one line, without what would command the terminal: names of files hold all."""
    if text.isprintable():
        return text
    around = zip(["", *text], text, [*text[1:], ""], strict=False)
    return "".join(
        c if c.isprintable() or (c == JOINER and _joins(left, right)) else escaped(c)
        for left, c, right in around
    )


def printable_path(path: str) -> str:
    """`printable`, and in quotes where it could not be seen where the path begins and ends."""
    text = printable(path)
    has_edge = path != path.strip() or path[:1] in QUOTES or path[-1:] in QUOTES
    mark = '"' if "'" in text else "'"
    return f"{mark}{text}{mark}" if has_edge else text


def _joins(left: str, right: str) -> bool:
    """Whether it makes one picture of two; elsewhere it would only hide in a name."""
    return is_pictured(left) and is_pictured(right)


def is_pictured(character: str) -> bool:
    """Whether it is an emoji, or what colours one."""
    return character == COLOURED or category(character or " ") in ("So", "Sk")


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
    """A view as the API would write it: its names, in camelCase, and times in ISO 8601."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            f.metadata.get(WIRE_NAME) or _camel(f.name): jsonable(getattr(value, f.name))
            for f in fields(value)
        }
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
