"""Where everything is wanted, a test that is left out has failed, however it was left out."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

from support.optional_programs import ALLOWED, STRICT


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(STRICT):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason not in ALLOWED:
            report.outcome = "failed"
            report.longrepr = f"Left out ({reason}), and {STRICT} wants every test to run"
