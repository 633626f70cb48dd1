"""The rule for programs that are not everywhere: left out, unless everything is wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT
from support.optional_programs import NO_MOUNTS, leave_out, require_program

ABSENT = "a-program-that-nobody-has"


def test_a_program_that_is_here_is_found() -> None:
    assert require_program("sh").endswith("/sh")


def test_a_test_whose_program_is_absent_is_left_out_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GATEWAY_TESTS_STRICT", raising=False)
    with pytest.raises(pytest.skip.Exception, match=ABSENT):
        require_program(ABSENT)


def test_where_everything_is_wanted_its_absence_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_TESTS_STRICT", "1")
    with pytest.raises(pytest.fail.Exception, match=ABSENT):
        require_program(ABSENT)


def test_what_no_program_gives_may_be_left_out_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GATEWAY_TESTS_STRICT", "1")
    with pytest.raises(pytest.skip.Exception, match=NO_MOUNTS):
        leave_out(NO_MOUNTS)


@pytest.mark.parametrize(
    ("line", "strict", "code"),
    [
        ("pytest.skip('not today')", "", 0),
        ("pytest.skip('not today')", "1", 1),
        (f"pytest.skip({NO_MOUNTS!r})", "1", 0),
        ("pytest.xfail('known')", "1", 0),
    ],
)
def test_a_skip_that_goes_by_the_rule_s_back_is_seen(
    tmp_path: Path, line: str, strict: str, code: int
) -> None:
    test = tmp_path / "test_it.py"
    test.write_text(f"import pytest\n\ndef test_it():\n    {line}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "support.strict_skips", "-c", os.devnull, test],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests"), "GATEWAY_TESTS_STRICT": strict},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert ("wants every test to run" in done.stdout) == bool(code)
