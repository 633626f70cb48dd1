"""The tables of the page on performance, of the last run of the measures that was kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from docs.markdown import table

KEPT = Path(__file__).parent / "performance.json"
HEAD = ("What", "Size", "Beside", "Ours", "It takes", "Ratio", "Spread", "Goal")
SECTIONS: Mapping[str, Sequence[str]] = {
    "start": ("start until healthy",),
    "submit": ("submit a directory", "submit a list"),
    "poll": ("poll a job", "poll, unchanged (304)", "list jobs"),
    "fanout": ("deliver a message",),
    "warm": ("warm a large file",),
    "slow": (
        "slow filespace, small files",
        "slow filespace, a large file",
        "slow filespace, limited to 50 MB/s",
    ),
    "index": ("index the first time", "index again, nothing changed"),
    "memory": ("memory after a job",),
}


def machine() -> str:
    """The machine that the run was on."""
    found = _kept()["machine"]
    return (
        f"{found['cores']} cores, {found['memoryGB']} GB of memory, {found['system']}, Python"
        f" {found['python']}; load average of the last 15 minutes: {found['load']}\n"
    )


def measures(section: str) -> str:
    """What was measured in a section of the page."""
    kept = [it for it in _kept()["measures"] if it["name"] in SECTIONS[section]]
    return table(HEAD, map(_row, kept))


PARTS = {
    "performance-machine": machine,
    **{f"performance-{section}": partial(measures, section) for section in SECTIONS},
}


def slug(name: str) -> str:
    """A measure's name as a part of a file's name."""
    return "-".join("".join(it if it.isalnum() else " " for it in name).split())


def _kept() -> Any:
    return json.loads(KEPT.read_text(encoding="utf-8"))


def _row(one: Mapping[str, Any]) -> Sequence[str]:
    has_floor = one["floor"] is not None
    ratio = f"{one['ratio']:.2f}" if has_floor else ""
    spread = f"{one['least']:.2f}–{one['most']:.2f}"
    goal = "" if one["goal"] is None else f"≤ {one['goal']:.2f}"
    if one["goal"] is not None and one["ratio"] > one["goal"]:
        goal += " (missed)"
    size = f"{one['count']:,} {one['things']}"
    floor = one["floor"] if has_floor else ""
    return one["name"], size, one["floorName"], one["ours"], floor, ratio, spread, goal
