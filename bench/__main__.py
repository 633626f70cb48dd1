"""Measure everything, or what is named: ``python -m bench [submit] [poll] …``."""

from __future__ import annotations

import importlib
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import Measure, shown
from gateway.server import run

MEASURES = ("start", "submit", "poll", "fanout", "warm", "index", "memory")
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
    return 1 if any(one.verdict == "MISSED" for one in measures) else 0


async def _measure(names: Sequence[str]) -> list[Measure]:
    measures: list[Measure] = []
    for name in names:
        print(f"Measuring: {name} …", file=sys.stderr)
        async for one in importlib.import_module(f"bench.{name}").measure(ROUNDS):
            print(f"  {one.name}, {one.count:,} {one.things}: {one.ratio:.2f}", file=sys.stderr)
            measures.append(one)
    return measures


def _show(measures: Sequence[Measure]) -> None:
    table = Table("work", "size", "against", "ours", "floor", "ratio", "spread", "goal", "")
    for one in measures:
        table.add_row(
            one.name,
            f"{one.count:,} {one.things}",
            one.floor_name,
            shown(statistics.median(one.ours), one.unit),
            shown(statistics.median(one.floor), one.unit) if one.floor else "",
            f"{one.ratio:.2f}",
            f"{min(one.ratios):.2f}–{max(one.ratios):.2f}",
            f"≤ {one.goal:.2f}" if one.goal is not None else "",
            one.verdict,
        )
    Console(width=150).print(table)


def _keep(measures: Sequence[Measure]) -> None:
    machine = {
        "cores": os.cpu_count(),
        "memoryGB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "loadBefore": round(os.getloadavg()[2], 1),
    }
    report = {"machine": machine, "measures": [one.as_json() for one in measures]}
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
