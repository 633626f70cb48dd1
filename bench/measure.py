"""A measure: what we do, what it cannot be faster than, and the ratio of the two."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Taken = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Measure:
    """What each round took, in ``unit``: "s" (of the clock), "CPU s" or "MB".

    ``count`` is how many ``things`` there were, which stands on the plot's axis. ``goal`` is the
    ratio ours / floor that shall not be passed; without a floor, what ours shall not pass. None:
    there is none at this size, where the floor is next to nothing.
    """

    name: str
    things: str
    count: int
    floor_name: str
    goal: float | None
    ours: Sequence[float]
    floor: Sequence[float] = ()
    unit: str = "s"

    @property
    def ratios(self) -> Sequence[float]:
        if not self.floor:
            return self.ours
        return [one / other for one, other in zip(self.ours, self.floor, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        return "met" if self.ratio <= self.goal else "MISSED"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratios": self.ratios, "ratio": self.ratio, "verdict": self.verdict}


async def compare(
    name: str,
    floor_name: str,
    size: tuple[int, str],
    goal: float | None,
    ours: Taken,
    floor: Taken,
    rounds: int,
    *,
    per: int = 1,
    turns: int = 1,
    unit: str = "s",
) -> Measure:
    """Run both in turn, the other one first each time; each once before, unmeasured.

    ``per`` is how many times what is measured happens in one run: what is kept is of one.
    A round is so many ``turns`` of each: the more, the less it matters if the machine is slower
    for a second.
    """
    await floor()
    await ours()
    taken: tuple[list[float], list[float]] = ([], [])
    pair = ((ours, taken[0]), (floor, taken[1]))
    for number in range(rounds):
        for amounts in taken:
            amounts.append(0.0)
        for turn in range(turns):
            for work, amounts in pair if (number + turn) % 2 else reversed(pair):
                amounts[-1] += await work() / per / turns
    count, things = size
    return Measure(name, things, count, floor_name, goal, *taken, unit=unit)


def shown(amount: float, unit: str) -> str:
    """An amount for people: in the unit in which it is no tiny fraction."""
    if not unit.endswith("s"):
        return f"{amount:.1f} {unit}"
    kind = unit.removesuffix("s")
    for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if amount * factor >= 1:
            return f"{amount * factor:.3g} {kind}{name}"
    return f"{amount * 1e6:.2f} {kind}µs"
