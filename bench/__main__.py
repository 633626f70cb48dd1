"""Measure everything, or what is named: ``python -m bench [submit] [poll] …``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.measure import Measure, shown
from gateway.runtime.process import run

MEASURES = ("start", "submit", "poll", "fanout", "warm", "slow", "index", "memory")
ROUNDS = 5
RESULTS = Path(__file__).parent / "results.json"


def main() -> int:
    asked = _parser().parse_args()
    measures = run(_measure(asked.names or MEASURES, asked.rounds))
    _show(measures)
    _keep(measures)
    return 1 if any(one.verdict == "MISSED" for one in measures) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    return parser


async def _measure(names: Sequence[str], rounds: int) -> list[Measure]:
    measures: list[Measure] = []
    for name in names:
        if name not in MEASURES:
            sys.exit(f"Unknown measure: {name} (there are {', '.join(MEASURES)})")
        print(f"Measuring: {name} …", file=sys.stderr)
        async for one in importlib.import_module(f"bench.{name}").measure(rounds):
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
    report = {"machine": machine, "measures": _beside_others(measures)}
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")


def _beside_others(measures: Sequence[Measure]) -> Sequence[Mapping[str, Any]]:
    """These measures, and what earlier runs found of the others."""
    others = json.loads(RESULTS.read_text())["measures"] if RESULTS.exists() else []
    taken = {one.name for one in measures}
    kept = [one for one in others if one["name"] not in taken]
    return [*kept, *(one.as_json() for one in measures)]


if __name__ == "__main__":
    sys.exit(main())
