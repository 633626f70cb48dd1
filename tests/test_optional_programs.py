"""The rule for programs that are not everywhere: left out, unless everything is wanted."""

from __future__ import annotations

import pytest
from optional_programs import require_program

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
