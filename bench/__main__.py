"""Measure everything, or what is named: ``python -m bench [submit] [warm] [slow] [index]``."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import Measure
from gateway.server import run

MEASURES = ("submit", "poll", "warm", "slow", "index")
ROUNDS = 5
RESULTS = Path(__file__).parent / "results.json"


def main(names: Sequence[str]) -> int:
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        print(f"Unknown measure: {', '.join(unknown)} (there are {', '.join(MEASURES)})")
        return 2
    measures = run(_measure(names or MEASURES))
    _show(measures)
    _keep(measures)
    return 0 if all(one.is_met for one in measures) else 1


async def _measure(names: Sequence[str]) -> list[Measure]:
    measures: list[Measure] = []
    for name in names:
        print(f"Measuring: {name} …", file=sys.stderr)
        measures += [one async for one in importlib.import_module(f"bench.{name}").measure(ROUNDS)]
    return measures


def _show(measures: Sequence[Measure]) -> None:
    table = Table("work", "size", "against", "ours", "floor", "ratio", "spread", "goal", "")
    for one in measures:
        table.add_row(
            one.name,
            one.size,
            one.floor_name,
            f"{min(one.ours):.3f} s",
            f"{min(one.floor):.3f} s",
            f"{one.ratio:.2f}",
            f"{min(one.ratios):.2f}–{max(one.ratios):.2f}",
            f"≤ {one.goal:.2f}",
            "met" if one.is_met else "MISSED",
        )
    Console(width=130).print(table)


def _keep(measures: Sequence[Measure]) -> None:
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    report = {"machine": machine, "measures": [one.as_json() for one in measures]}
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
