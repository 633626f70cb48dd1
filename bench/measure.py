"""A measure: what we do, what it cannot be faster than, and the ratio of the two."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Timed = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Measure:
    """Seconds that each round took. ``goal`` is the ratio ours / floor that shall not be passed."""

    name: str
    floor_name: str
    size: str
    goal: float
    ours: Sequence[float]
    floor: Sequence[float]

    @property
    def ratios(self) -> Sequence[float]:
        return [one / other for one, other in zip(self.ours, self.floor, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)

    @property
    def is_met(self) -> bool:
        return self.ratio <= self.goal

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratios": self.ratios, "ratio": self.ratio, "isMet": self.is_met}


async def compare(
    name: str,
    floor_name: str,
    size: str,
    goal: float,
    ours: Timed,
    floor: Timed,
    rounds: int,
) -> Measure:
    """Run both in turn, the other one first each time; each once before, unmeasured."""
    await floor()
    await ours()
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        pair = ((ours, times[0]), (floor, times[1]))
        for work, seconds in pair if number % 2 else reversed(pair):
            seconds.append(await work())
    return Measure(name, floor_name, size, goal, *times)
