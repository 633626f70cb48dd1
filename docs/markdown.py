"""Pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LONGEST_SHOWN = 60


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; its cells are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def code(text: str) -> str:
    """``text`` as code in a table's cell, on one line, whatever is in it."""
    shown = text if len(text) <= LONGEST_SHOWN else f"{text[:24]}…{text[-24:]}"
    safe = "".join(it if it.isprintable() else repr(it)[1:-1] for it in shown).replace("|", "\\|")
    fence = "``" if "`" in safe else "`"
    # Markdown takes one blank from both ends, if there is one at both and more than blanks between.
    ends = safe[:1] + safe[-1:]
    pad = " " if "`" in ends or (ends == "  " and safe.strip()) else ""
    return f"{fence}{pad}{safe or ' '}{pad}{fence}"


def words(text: str) -> str:
    """Prose in a table's cell: on one line, with the code of docstrings as Markdown's."""
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")


def fenced(language: str, text: str) -> str:
    """A fenced block."""
    return f"```{language}\n{text.rstrip()}\n```\n"
