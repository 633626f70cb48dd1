"""A minute of mixed load leaves the processes as they are; `make soak` does half an hour of it."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from bench.soak import Series
from support import ROOT

SECONDS = 60


@pytest.mark.timeout(SECONDS + 180)
async def test_a_minute_of_everything_leaves_memory_descriptors_and_tasks_flat() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.soak", "--minutes", str(SECONDS / 60)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = map(bytes.decode, await process.communicate())
    print(out)
    assert process.returncode == 0, out + err
    assert "Traceback" not in err, err
    assert out.count(": flat") == 5
    for kind in ("poll", "submit", "cancel", "listen", "read_slowly", "hang_up"):
        assert f"{kind} " in out


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
