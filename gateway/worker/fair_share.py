"""Which jobs are claimed from next, and how much of each. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TypeVar

Item = TypeVar("Item")


class FairShareScheduler:
    """Gives each job an equal share of what a worker holds, also where jobs outnumber the places.

    A place goes to the job of which the worker holds the fewest items. Among equals it goes to the
    job whose last turn is longest ago, or that had none.
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._number = 0

    def order(self, jobs: Sequence[str], held: Mapping[str, int]) -> Sequence[str]:
        """The jobs, those with the fewest items first. Forgets all others."""
        self._last = {job: self._last[job] for job in jobs if job in self._last}
        return sorted(jobs, key=lambda job: (held.get(job, 0), self._last.get(job, 0)))

    def took(self, job: str) -> None:
        """The job had its turn."""
        self._number += 1
        self._last[job] = self._number


def fair_share(held: Sequence[int], room: int) -> int:
    """How many of ``room`` new items go to the first of the jobs, which hold ``held`` items each.

    ``held`` is in rising order. The items bring all jobs as close to equal as they can.
    """
    level, left = held[0], room
    for count, following in enumerate(held[1:], start=1):
        step = (following - level) * count
        if step >= left:
            return level + -(-left // count) - held[0]
        level, left = following, left - step
    return level + -(-left // len(held)) - held[0]


def interleave(batches: Sequence[Sequence[Item]]) -> Iterator[Item]:
    """The first of each batch, then the second of each, and so on."""
    for row in zip_longest(*batches):
        yield from (item for item in row if item is not None)
