"""Percentages, and the cache of size sums."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.formatting import iso_time
from gateway.job import Job, JobStatus, Progress
from gateway.schemas.serializers import serialize_job


def percentages(files: tuple[int, int, int], size: tuple[int, int, int]) -> tuple[int, int, int]:
    """The percentages of files, of sizes and overall, from (completed, failed, total)."""
    completed, failed, total = files
    completed_bytes, failed_bytes, total_bytes = size
    progress = Progress(
        total_files=total,
        completed_files=completed,
        failed_files=failed,
        total_bytes=total_bytes,
        completed_bytes=completed_bytes,
        failed_bytes=failed_bytes,
    )
    return progress.file_percentage, progress.size_percentage, progress.percentage


@pytest.mark.parametrize(
    ("what", "files", "size", "expected"),
    [
        ("nothing yet", (0, 0, 20), (0, 0, 1000), (0, 0, 0)),
        ("three quarters", (15, 0, 20), (750, 0, 1000), (75, 75, 75)),
        ("rounded down", (1, 0, 3), (2, 0, 3), (33, 66, 50)),
        ("a hundredth that no float holds", (29, 0, 100), (57, 0, 100), (29, 57, 43)),
        ("the mean is of what is not rounded yet", (1, 0, 8), (1, 0, 8), (12, 12, 12)),
        ("… 12.5 and 13.5 make 13", (1, 0, 8), (27, 0, 200), (12, 13, 13)),
        ("failed files have ended", (10, 5, 20), (500, 250, 1000), (75, 75, 75)),
        ("all failed", (0, 3, 3), (0, 9, 9), (100, 100, 100)),
        ("one file of a million left", (999_999, 0, 1_000_000), (999, 0, 999), (99, 99, 99)),
        ("all bytes, not all files", (1, 0, 2), (10, 0, 10), (50, 99, 75)),
        ("all files, not all bytes", (2, 0, 2), (5, 0, 10), (100, 100, 100)),
        ("no sizes known", (1, 0, 4), (0, 0, 0), (25, 25, 25)),
        ("more bytes than planned", (1, 0, 10), (5000, 0, 10), (10, 99, 55)),
        ("more files than planned", (5, 0, 3), (10, 0, 10), (100, 100, 100)),
        ("negative counters of another program", (-5, 0, 10), (-5, 0, 10), (0, 0, 0)),
        ("uncounted files", (0, 0, 0), (0, 0, 0), (0, 0, 0)),
        ("… and some have ended", (3, 1, 0), (0, 0, 0), (0, 0, 0)),
        ("… but the bytes were counted", (3, 0, 0), (50, 0, 100), (0, 50, 0)),
        ("a total below nothing", (0, 0, -1), (0, 0, -1), (0, 0, 0)),
    ],
)
def test_percentages(
    what: str, files: tuple[int, int, int], size: tuple[int, int, int], expected: tuple[int, ...]
) -> None:
    assert percentages(files, size) == expected, what


@pytest.mark.parametrize("status", list(JobStatus))
def test_a_job_without_a_total_reads_100_only_once_it_has_ended(status: JobStatus) -> None:
    progress = Progress(0, 0, 0, 0, 0, 0, is_over=status.has_ended)
    expected = 100 if status in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED) else 0
    assert progress.percentage == progress.file_percentage == progress.size_percentage == expected


def test_a_running_job_without_a_total_has_no_estimate() -> None:
    start = datetime.fromisoformat("2026-01-01")
    progress = Progress(0, 3, 0, 0, 0, 0)
    job = Job("1", JobStatus.RUNNING, progress, start, start, None, None, None)
    assert job.seconds_left(start + timedelta(seconds=60)) is None


@pytest.mark.parametrize(("ended", "expected"), [(1, None), (10**7, 29_999_970), (10**12, 270)])
def test_an_estimate_of_more_than_a_year_is_omitted(ended: int, expected: int | None) -> None:
    """One byte of ten terabytes in thirty seconds gives a date beyond the calendar."""
    start = datetime.fromisoformat("2026-01-01")
    progress = Progress(10, 0, 0, 10**13, ended, 0)
    job = Job("1", JobStatus.RUNNING, progress, start, start, None, None, None)
    now = start + timedelta(seconds=30)
    estimate = serialize_job(job, None, now)["eta"]
    assert (estimate and estimate["seconds"]) == expected
    if expected:
        assert estimate == {
            "seconds": expected,
            "time": iso_time(now + timedelta(seconds=expected)),
        }


COUNTS = st.integers(0, 10**15)


@hypothesis_settings(max_examples=200)
@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_a_percentage_is_exact_and_100_only_when_nothing_is_left(
    ended: int, left: int, ended_bytes: int, left_bytes: int
) -> None:
    assume(ended + left)
    total, total_bytes = ended + left, ended_bytes + left_bytes
    found = percentages((ended, 0, total), (ended_bytes, 0, total_bytes))
    if not left:
        assert found == (100, 100, 100)
        return
    files = Fraction(ended, total)
    size = Fraction(ended_bytes, total_bytes) if total_bytes else files
    exact = (files, size, (files + size) / 2)
    assert found == tuple(min(99, int(ratio * 100)) for ratio in exact)


@hypothesis_settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_a_percentage_never_falls(steps: list[tuple[int, int]]) -> None:
    total, total_bytes = 20, 30
    files = size = 0
    before = (0, 0, 0)
    for more_files, more_bytes in steps:
        files, size = files + more_files, size + more_bytes
        now = percentages((files, 0, total), (size, 0, total_bytes))
        assert all(new >= old for new, old in zip(now, before, strict=True))
        before = now
