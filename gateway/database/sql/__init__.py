"""The one place where SQL is written: migrations and named queries.

A file of named queries, such as ``jobs.sql``, holds a header before each statement::

    -- name: cancel_job
    UPDATE …

and `load_queries("jobs")` gives them by name. Parameters are psycopg2's ``%(name)s``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_STEP = re.compile(r"^-- step: (.+)\n", re.MULTILINE)
_UNLESS = re.compile(r"^-- unless: (.+)\n", re.MULTILINE)
_CONCURRENTLY = re.compile(r"^-- concurrently\n", re.MULTILINE)


def load_queries(*stems: str) -> Mapping[str, str]:
    """Read each ``<stem>.sql``: the name of each query → its text."""
    queries: dict[str, str] = {}
    for stem in stems:
        text = resources.files(__name__).joinpath(f"{stem}.sql").read_text(encoding="utf-8")
        _preamble, *parts = _NAME.split(text)
        names, bodies = parts[::2], parts[1::2]
        queries |= {name: body.strip() for name, body in zip(names, bodies, strict=True)}
    return MappingProxyType(queries)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a migration adds.

    ``unless`` is a boolean SQL expression: true when the thing is there already.
    ``statements`` run in order; those of a ``concurrent`` step outside of any transaction.
    """

    title: str
    unless: str
    statements: tuple[str, ...]
    concurrent: bool


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``migrations/``, named ``NNNN_what_it_adds``."""

    name: str
    steps: tuple[Step, ...]


def check_of(steps: Sequence[Step]) -> str:
    """A query of one row, with one boolean a step: whether the thing is there already."""
    columns = (f"({step.unless}) AS step_{number}" for number, step in enumerate(steps))
    return f"SELECT {', '.join(columns)}"


def load_migrations() -> tuple[Migration, ...]:
    """Read ``migrations/NNNN_*.sql``, oldest first."""
    folder = resources.files(__name__).joinpath("migrations")
    files = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".sql")),
        key=lambda entry: entry.name,
    )
    return tuple(
        Migration(entry.name.removesuffix(".sql"), _parse_steps(entry.read_text(encoding="utf-8")))
        for entry in files
    )


def _parse_steps(text: str) -> tuple[Step, ...]:
    _preamble, *parts = _STEP.split(text)
    return tuple(
        _parse_step(title, body) for title, body in zip(parts[::2], parts[1::2], strict=True)
    )


def _parse_step(title: str, body: str) -> Step:
    unless = _UNLESS.search(body)
    if unless is None:
        raise ValueError(f"migration step {title!r} has no '-- unless:'")
    concurrent = _CONCURRENTLY.search(body) is not None
    script = _CONCURRENTLY.sub("", _UNLESS.sub("", body)).strip()
    # A function's body holds semicolons of its own, so only concurrent steps are taken apart.
    statements = re.split(r"(?<=;)\n+", script) if concurrent else [script]
    return Step(title, unless[1], tuple(statements), concurrent)
