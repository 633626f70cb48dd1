"""What a run of the tests left out is the last thing that it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from support import ROOT

TESTS = ROOT / "tests"
# No tests, or run by `make lint`.
OTHERS = frozenset({"support", "lint"})


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Name the folders that were not asked for, and why single tests did not run."""
    folders = {path.parent.name for path in TESTS.glob("*/test_*.py")} - OTHERS
    arguments = [config.invocation_params.dir / one.partition("::")[0] for one in config.args]
    reasons = (report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    for line in describe(not_selected(folders, arguments), reasons):
        terminalreporter.write_line(line)


def not_selected(folders: Iterable[str], arguments: Iterable[Path]) -> list[str]:
    """The folders of which no argument selects anything."""
    selected = [path.resolve() for path in arguments]
    return sorted(
        name
        for name in folders
        if not any(
            (TESTS / name).is_relative_to(path) or path.is_relative_to(TESTS / name)
            for path in selected
        )
    )


def describe(folders: list[str], reasons: Iterable[str]) -> Iterator[str]:
    if folders:
        names = ", ".join(f"tests/{name}" for name in folders)
        yield f"Left out: {names} (make test-all runs everything)"
    for reason, count in sorted(Counter(reasons).items()):
        yield f"Left out: {count} tests: {reason.removeprefix('Skipped: ')}"
