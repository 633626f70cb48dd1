"""Which jobs are claimed from next, and how many items of each."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway.worker.fair_share import FairShareScheduler, fair_share


@pytest.mark.parametrize(
    ("held", "room", "expected"),
    [
        ([0], 18, 18),
        ([0, 0], 1, 1),
        ([0, 0], 3, 2),
        ([0, 0, 0], 18, 6),
        ([0, 100], 18, 18),
        ([0, 10], 20, 15),
        ([5, 5], 1, 1),
        ([1, 3, 3], 2, 2),
        ([1, 3, 4], 4, 3),
        ([0], 0, 0),
        ([2, 9], 0, 0),
    ],
)
def test_a_share_brings_jobs_as_close_to_equal_as_it_can(
    held: list[int], room: int, expected: int
) -> None:
    assert fair_share(held, room) == expected


def test_the_job_with_the_fewest_items_comes_first() -> None:
    assert FairShareScheduler().order(["a", "b", "c"], {"a": 2, "b": 1, "c": 3}) == ["b", "a", "c"]


def test_among_equals_the_one_that_has_waited_longest_comes_first() -> None:
    turns = FairShareScheduler()
    assert turns.order(["a", "b", "c"], {}) == ["a", "b", "c"]
    turns.took("a")
    assert turns.order(["a", "b", "c"], {}) == ["b", "c", "a"]
    turns.took("b")
    assert turns.order(["a", "b", "c", "new"], {}) == ["c", "new", "a", "b"]


def test_jobs_that_have_ended_are_forgotten() -> None:
    turns = FairShareScheduler()
    turns.took("a")
    turns.order(["b"], {})
    assert turns.order(["b", "a"], {}) == ["b", "a"]
    assert turns._last == {}


def test_many_jobs_share_few_slots_fairly() -> None:
    """Twenty jobs, four readers, files that end one after another."""
    turns, jobs, taken = FairShareScheduler(), [f"job {n}" for n in range(20)], Counter[str]()
    places = [""] * 4
    for round_number in range(400):
        places[round_number % 4] = ""
        held = Counter(job for job in places if job)
        first = turns.order(jobs, held)[0]
        turns.took(first)
        taken[first] += 1
        places[round_number % 4] = first
    assert set(taken.values()) == {20}
