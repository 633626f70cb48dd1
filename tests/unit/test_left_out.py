"""A run of the tests says what it left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import ROOT
from support.left_out import describe, not_selected

FOLDERS = ("api", "system", "unit")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tests"], []),
        (["."], []),
        (["tests/unit", "tests/api"], ["system"]),
        (["tests/unit/test_left_out.py"], ["api", "system"]),
        ([], ["api", "system", "unit"]),
    ],
)
def test_folders_that_were_not_asked_for_are_named(
    arguments: list[str], expected: list[str]
) -> None:
    paths: list[Path] = [ROOT / one for one in arguments]
    assert not_selected(FOLDERS, paths) == expected


def test_tests_that_were_skipped_are_counted_by_reason() -> None:
    reasons = ["Skipped: needs nginx", "Skipped: needs node", "Skipped: needs nginx"]
    assert list(describe(["system"], reasons)) == [
        "Left out: tests/system (make test-all runs everything)",
        "Left out: 2 tests: needs nginx",
        "Left out: 1 tests: needs node",
    ]


def test_a_run_that_left_out_nothing_says_nothing() -> None:
    assert list(describe([], [])) == []
