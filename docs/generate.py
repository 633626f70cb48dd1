"""Write the parts of these pages that are made from the code: ``python -m docs.generate``.

A page marks such a part with ``<!-- generated: NAME -->`` and ``<!-- end -->``; `PARTS` has what
goes between. ``<!-- generated: file PATH -->`` is a file of this project, as it stands. A test
compares the pages with what would be written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from docs import (
    api_pages,
    cli_pages,
    jobs_pages,
    metrics_pages,
    performance_pages,
    settings_pages,
)
from docs.markdown import code, fenced, table
from gateway.schemas.messages import FROM_CLIENT, FROM_GATEWAY
from support import path_cases

DOCS = Path(__file__).parent
MARKED = re.compile(r"(<!-- generated: ([^\n]+) -->\n).*?(<!-- end -->)", re.DOTALL)
FILE = "file "
LANGUAGES = {".py": "python", ".sh": "bash", ".yml": "yaml", ".json": "json", ".toml": "toml"}


def paths(accepted: Sequence[tuple[str, ...]], refused: Sequence[tuple[str, ...]]) -> str:
    """The cases that the tests run: what is typed, and the file that is meant or the reason."""
    rows = [(form, code(typed), code(meant)) for form, typed, meant in accepted]
    rows += [(form, code(typed), f"refused: … {reason} …") for form, typed, reason in refused]
    return table(["Form", "Typed", "Meaning"], rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "paths-single": lambda: paths(path_cases.ACCEPTED, path_cases.REFUSED),
    "paths-listed": lambda: paths(path_cases.LISTED_ACCEPTED, path_cases.LISTED_REFUSED),
    "states-drawn": jobs_pages.states_drawn,
    "states-in-text": jobs_pages.states_in_text,
    "progress-example": jobs_pages.progress_example,
    "settings": settings_pages.settings_reference,
    "requests": api_pages.requests_table,
    "requests-in-full": api_pages.requests_reference,
    "errors": api_pages.errors_table,
    "shapes": api_pages.shapes_reference,
    "messages-from-client": lambda: api_pages.messages_reference(FROM_CLIENT),
    "messages-from-gateway": lambda: api_pages.messages_reference(FROM_GATEWAY),
    "commands-that-run": cli_pages.running_reference,
    "commands-that-use": cli_pages.using_reference,
    "metrics": metrics_pages.metrics_reference,
    **performance_pages.PARTS,
}


def file_part(name: str) -> str:
    """A file of this project as a block."""
    path = DOCS.parent / name
    return fenced(LANGUAGES[path.suffix], path.read_text(encoding="utf-8"))


def part(name: str) -> str:
    """What stands in the part of that name."""
    return file_part(name.removeprefix(FILE)) if name.startswith(FILE) else PARTS[name]()


def regenerated(page: str) -> str:
    """A page's text with its generated parts made anew."""
    return MARKED.sub(lambda found: f"{found[1]}\n{part(found[2])}\n{found[3]}", page)


def main() -> None:
    for path in sorted(DOCS.rglob("*.md")):
        before = path.read_text(encoding="utf-8")
        path.write_text(regenerated(before), encoding="utf-8")


if __name__ == "__main__":
    main()
