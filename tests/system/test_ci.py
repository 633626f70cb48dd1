"""CI brings whatever a test asks for: on a bare Debian there is Python and make, no more."""

from __future__ import annotations

import re

import pytest

from support import ROOT

CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
# From PyPI with the tests, with the package `prometheus`, and with every system.
BROUGHT = {"rclone", "promtool", "sh"}
ASKED_FOR = sorted(
    {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r'require_program\("([\w-]+)"\)', path.read_text(encoding="utf-8"))
    }
    - BROUGHT
)


@pytest.mark.parametrize("name", ASKED_FOR)
def test_a_program_that_a_test_asks_for_is_installed_where_it_is_missing(name: str) -> None:
    assert f"command -v {name} >/dev/null || packages+=(" in CI


def test_tests_ask_for_programs() -> None:
    assert {"curl", "node", "prometheus", "systemd-analyze"} <= set(ASKED_FOR)


def test_ci_wants_every_test_to_run() -> None:
    assert re.search(r"^export .*\bGATEWAY_TESTS_STRICT=1\b", CI, re.MULTILINE)


def test_ci_runs_every_test_and_ends_with_the_result() -> None:
    assert 'make test-all 2>&1 | tee "$log"' in CI
    assert CI.index('tail -n 1 "$log"') > CI.index("All is well")


def test_ci_says_at_its_end_whether_vulnerabilities_were_checked() -> None:
    assert 'make audit 2>&1 | tee "$audit_log"' in CI
    assert CI.index('tail -n 1 "$audit_log"') > CI.index("All is well")
