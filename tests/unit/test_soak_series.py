"""What `make soak` calls flat."""

from __future__ import annotations

import pytest

from bench.soak import Series


def series(unit: str, values: list[float]) -> Series:
    made = Series("gateway", unit)
    for number, value in enumerate(values):
        made.add(float(number), value)
    return made


@pytest.mark.parametrize(
    ("unit", "values", "is_flat"),
    [
        ("MiB", [70.0] * 100, True),
        ("MiB", [40.0 + min(number, 30) for number in range(100)], True),
        ("MiB", [70.0 + 0.3 * number for number in range(100)], False),
        ("descriptors", [20.0 + number % 7 for number in range(100)], True),
        ("descriptors", [20.0 + number for number in range(100)], False),
        ("tasks", [30.0 + 0.5 * number for number in range(100)], False),
    ],
)
def test_what_rises_after_the_warm_up_is_told_from_what_does_not(
    unit: str, values: list[float], is_flat: bool
) -> None:
    assert series(unit, values).is_flat is is_flat
