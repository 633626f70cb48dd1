"""When a worker reports and claims: with a clock that the tests turn."""

from __future__ import annotations

import pytest

from gateway.settings import Settings
from gateway.worker.pacing import (
    FIRST_CLAIM,
    MAX_AHEAD,
    MAX_UNREPORTED,
    MIN_AHEAD,
    NOTHING_SECONDS,
    REPORT_SECONDS,
    TIDY_SECONDS,
    Pacing,
)
from gateway.worker.readers.pool import MAX_CONCURRENT_LARGE


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def schedule(clock: Clock) -> Pacing:
    settings = Settings(
        worker_concurrency=16,
        cache_progress_file_threshold=10,
        cache_progress_time_threshold=2000,
    )
    return Pacing(settings, clock)


def work_at(schedule: Pacing, clock: Clock, items_per_second: int, seconds: int = 20) -> None:
    for _ in range(seconds):
        clock.now += 1
        schedule.reported(items_per_second)


def test_what_went_astray_is_looked_for_now_and_then(schedule: Pacing, clock: Clock) -> None:
    assert not schedule.is_tidying_due()
    clock.now += TIDY_SECONDS
    assert schedule.is_tidying_due()
    assert not schedule.is_tidying_due()


def test_so_many_files_are_worth_a_report(schedule: Pacing, clock: Clock) -> None:
    clock.now += REPORT_SECONDS
    assert not schedule.is_report_due(9, is_idle=False)
    assert schedule.is_report_due(10, is_idle=False)


def test_reports_keep_their_distance_however_many_files_end(schedule: Pacing, clock: Clock) -> None:
    clock.now += REPORT_SECONDS / 2
    assert not schedule.is_report_due(100_000, is_idle=False)


def test_so_many_milliseconds_are_worth_a_report(schedule: Pacing, clock: Clock) -> None:
    clock.now += 1.9
    assert not schedule.is_report_due(1, is_idle=False)
    clock.now += 0.1
    assert schedule.is_report_due(0, is_idle=False)
    schedule.reported(0)
    assert not schedule.is_report_due(1, is_idle=False)


def test_the_last_files_are_reported_at_once(schedule: Pacing) -> None:
    assert schedule.is_report_due(1, is_idle=True)
    assert not schedule.is_report_due(0, is_idle=True)


def test_every_reader_gets_a_file_and_hardly_any_waits_while_nothing_is_known(
    schedule: Pacing,
) -> None:
    assert schedule.claim_size(0, 0) == 16 + MIN_AHEAD
    assert schedule.claim_size(16, 0) == MIN_AHEAD
    assert schedule.claim_size(16 + MIN_AHEAD, 0) == 0


def test_a_second_of_small_files_is_claimed_ahead(schedule: Pacing, clock: Clock) -> None:
    work_at(schedule, clock, items_per_second=1000)
    assert schedule.claim_size(400, 0) == pytest.approx(16 + 1000 - 400, abs=2)
    assert schedule.claim_size(16 + 751, 0) == 0
    assert schedule.claim_size(16 + 490, 0) == pytest.approx(510, abs=2)


def test_what_is_claimed_ahead_has_a_limit(schedule: Pacing, clock: Clock) -> None:
    work_at(schedule, clock, items_per_second=1_000_000)
    assert schedule.claim_size(MAX_AHEAD // 2, 0) == 16 + MAX_AHEAD // 2


def test_a_pace_that_slows_down_is_forgotten(schedule: Pacing, clock: Clock) -> None:
    work_at(schedule, clock, items_per_second=1000)
    work_at(schedule, clock, items_per_second=0)
    assert schedule.claim_size(0, 0) == 16 + MIN_AHEAD


def test_two_reports_at_the_same_moment_do_not_divide_by_zero(schedule: Pacing) -> None:
    schedule.reported(1)
    schedule.reported(1)
    assert schedule.claim_size(0, 0) > 0


def test_where_nothing_was_found_nothing_is_asked_for_a_while(
    schedule: Pacing, clock: Clock
) -> None:
    schedule.found_nothing()
    assert schedule.claim_size(0, 0) == 0
    clock.now += NOTHING_SECONDS
    assert schedule.claim_size(0, 0) > 0


def test_an_announcement_ends_the_waiting(schedule: Pacing) -> None:
    schedule.found_nothing()
    schedule.look_again()
    assert schedule.claim_size(0, 0) > 0


def test_while_reports_fail_there_is_a_limit_to_what_is_claimed(schedule: Pacing) -> None:
    assert schedule.claim_size(0, MAX_UNREPORTED) > 0
    assert schedule.claim_size(0, MAX_UNREPORTED + 1) == 0


def test_files_are_reported_before_that_limit_whatever_the_settings_say(clock: Clock) -> None:
    settings = Settings(cache_progress_file_threshold=10**9, cache_progress_time_threshold=60_000)
    schedule = Pacing(settings, clock)
    clock.now += REPORT_SECONDS
    assert schedule.is_report_due(MAX_AHEAD, is_idle=False)


def test_not_all_readers_are_given_files_before_it_is_known_how_large_they_are(
    clock: Clock,
) -> None:
    schedule = Pacing(Settings(worker_concurrency=64), clock)
    assert schedule.claim_size(0, 0) == MAX_CONCURRENT_LARGE + MIN_AHEAD
    assert schedule.claim_size(40, 0) == MAX_CONCURRENT_LARGE + MIN_AHEAD
    assert schedule.claim_size(60, 0) == 4 + MIN_AHEAD


def test_a_stock_grows_from_a_first_few_since_thousands_take_long_to_claim(
    schedule: Pacing, clock: Clock
) -> None:
    work_at(schedule, clock, items_per_second=100_000)
    assert schedule.claim_size(0, ended=0) == FIRST_CLAIM
    assert schedule.claim_size(FIRST_CLAIM, ended=0) == 3 * FIRST_CLAIM


def test_the_time_of_the_next_report_is_known(schedule: Pacing, clock: Clock) -> None:
    schedule.reported(0)
    assert schedule.seconds_until_report() == pytest.approx(2.0)
    clock.now += 1.5
    assert schedule.seconds_until_report() == pytest.approx(0.5)
    clock.now += 5
    assert schedule.seconds_until_report() == 0
