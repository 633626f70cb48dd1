"""Write the parts of these pages that are made from the code: ``python -m docs.generate``.

A page marks such a part with ``<!-- generated: NAME -->`` and ``<!-- end -->``; `PARTS` has what
goes between. A test compares the pages with what would be written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tests import path_cases

DOCS = Path(__file__).parent
MARKED = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
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


def paths(accepted: Sequence[tuple[str, ...]], refused: Sequence[tuple[str, ...]]) -> str:
    """The cases that the tests run: what is typed, and the file that is meant or the reason."""
    rows = [(form, code(typed), code(meant)) for form, typed, meant in accepted]
    rows += [(form, code(typed), f"refused: … {reason} …") for form, typed, reason in refused]
    return table(["Form", "Typed", "Meaning"], rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "paths-single": lambda: paths(path_cases.ACCEPTED, path_cases.REFUSED),
    "paths-listed": lambda: paths(path_cases.LISTED_ACCEPTED, path_cases.LISTED_REFUSED),
}


def regenerated(page: str) -> str:
    """A page's text with its generated parts made anew."""
    return MARKED.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n{part[3]}", page)


def main() -> None:
    for path in sorted(DOCS.rglob("*.md")):
        before = path.read_text(encoding="utf-8")
        path.write_text(regenerated(before), encoding="utf-8")


if __name__ == "__main__":
    main()
