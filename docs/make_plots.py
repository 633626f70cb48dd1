"""Keep what ``python -m bench`` found, for the page on performance: ``python -m docs.make_plots``.

Writes performance.json, of which the page's tables are made, and a plot for each measure that was
taken at several sizes.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

from bench.measure import shown
from docs.performance_pages import KEPT, slug

RESULTS = Path(__file__).parents[1] / "bench" / "results.json"
IMAGES = Path(__file__).parent / "images"
# Text stays text, and the same figures give the same file.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "performance", "font.size": 9}
AXES = {"s": "seconds", "CPU s": "CPU seconds", "MB": "MB"}


def main() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    kept = {
        "machine": _machine(results["machine"]),
        "measures": [_kept(one) for one in results["measures"]],
    }
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    sizes: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in results["measures"]:
        sizes[one["name"]].append(one)
    for name, measures in sizes.items():
        if len({one["count"] for one in measures}) > 1:
            _plot(name, measures)


def _machine(found: Mapping[str, Any]) -> Mapping[str, Any]:
    named = {name: value for name, value in found.items() if name != "loadBefore"}
    return {**named, "load": found["loadBefore"]}


def _kept(one: Mapping[str, Any]) -> Mapping[str, Any]:
    floor = shown(statistics.median(one["floor"]), one["unit"]) if one["floor"] else None
    return {
        "name": one["name"],
        "things": one["things"],
        "count": one["count"],
        "floorName": one["floor_name"],
        "ours": shown(statistics.median(one["ours"]), one["unit"]),
        "floor": floor,
        "ratio": round(one["ratio"], 3),
        "least": round(min(one["ratios"]), 3),
        "most": round(max(one["ratios"]), 3),
        "goal": one["goal"],
    }


def _plot(name: str, measures: Sequence[Mapping[str, Any]]) -> None:
    first = measures[0]
    with mpl.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(5, 3), layout="constrained")
        _draw(axes, measures, "ours", "the gateway")
        if first["floor"]:
            _draw(axes, measures, "floor", first["floor_name"])
        else:
            axes.axhline(first["goal"], color="C1", linestyle="--", label=first["floor_name"])
        axes.set(xscale="log", xlabel=first["things"], ylabel=AXES[first["unit"]], title=name)
        axes.set_yscale("log" if first["floor"] else "linear")
        axes.grid(alpha=0.3)
        axes.legend()
        path = IMAGES / f"performance-{slug(name)}.svg"
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def _draw(axes: Any, measures: Sequence[Mapping[str, Any]], whose: str, label: str) -> None:
    """A line through the medians, with bars from the least to the most."""
    counts = [one["count"] for one in measures]
    middles = [statistics.median(one[whose]) for one in measures]
    below = [middle - min(one[whose]) for middle, one in zip(middles, measures, strict=True)]
    above = [max(one[whose]) - middle for middle, one in zip(middles, measures, strict=True)]
    axes.errorbar(counts, middles, (below, above), marker="o", capsize=3, label=label)


if __name__ == "__main__":
    main()
