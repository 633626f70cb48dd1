"""When a worker reports and claims: with a clock that the tests turn."""

from __future__ import annotations

import pytest

from gateway.settings import Settings
from gateway.worker.pacing import (
    FEW_READS,
    FIRST_CLAIM,
    MAX_AHEAD,
    MAX_UNREPORTED,
    MIN_AHEAD,
    Pacing,
)
from gateway.worker.readers.pool import MAX_CONCURRENT_LARGE
from gateway.worker.timers import Timers

TIMERS = Timers()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pacing(clock: Clock) -> Pacing:
    settings = Settings(
        worker_concurrency=16,
        cache_progress_file_threshold=10,
        cache_progress_time_threshold=2000,
    )
    return Pacing(settings, TIMERS, clock)


def work_at(pacing: Pacing, clock: Clock, items_per_second: int, seconds: int = 20) -> None:
    for _ in range(seconds):
        clock.now += 1
        pacing.reported(items_per_second)


def test_so_many_files_are_worth_a_report(pacing: Pacing, clock: Clock) -> None:
    clock.now += TIMERS.report
    assert not pacing.is_report_due(9, is_idle=False)
    assert pacing.is_report_due(10, is_idle=False)


def test_reports_keep_their_distance_however_many_files_end(pacing: Pacing, clock: Clock) -> None:
    clock.now += TIMERS.report / 2
    assert not pacing.is_report_due(100_000, is_idle=False)


def test_so_many_milliseconds_are_worth_a_report(pacing: Pacing, clock: Clock) -> None:
    clock.now += 1.9
    assert not pacing.is_report_due(1, is_idle=False)
    clock.now += 0.1
    assert pacing.is_report_due(0, is_idle=False)
    pacing.reported(0)
    assert not pacing.is_report_due(1, is_idle=False)


def test_the_last_files_are_reported_at_once(pacing: Pacing) -> None:
    assert pacing.is_report_due(1, is_idle=True)
    assert not pacing.is_report_due(0, is_idle=True)


def test_every_reader_gets_a_file_and_hardly_any_waits_while_nothing_is_known(
    pacing: Pacing,
) -> None:
    assert pacing.claim_size(0, 0) == 16 + MIN_AHEAD
    assert pacing.claim_size(16, 0) == MIN_AHEAD
    assert pacing.claim_size(16 + MIN_AHEAD, 0) == 0


def test_a_second_of_small_files_is_claimed_ahead(pacing: Pacing, clock: Clock) -> None:
    work_at(pacing, clock, items_per_second=1000)
    assert pacing.claim_size(400, 0) == pytest.approx(16 + 1000 - 400, abs=2)
    assert pacing.claim_size(16 + 751, 0) == 0
    assert pacing.claim_size(16 + 490, 0) == pytest.approx(510, abs=2)


def test_what_is_claimed_ahead_has_a_limit(pacing: Pacing, clock: Clock) -> None:
    work_at(pacing, clock, items_per_second=1_000_000)
    assert pacing.claim_size(MAX_AHEAD // 2, 0) == 16 + MAX_AHEAD // 2


def test_a_pace_that_slows_down_is_forgotten(pacing: Pacing, clock: Clock) -> None:
    work_at(pacing, clock, items_per_second=1000)
    work_at(pacing, clock, items_per_second=0)
    assert pacing.claim_size(0, 0) == 16 + MIN_AHEAD


def test_two_reports_at_the_same_moment_do_not_divide_by_zero(pacing: Pacing) -> None:
    pacing.reported(1)
    pacing.reported(1)
    assert pacing.claim_size(0, 0) > 0


def test_where_nothing_was_found_nothing_is_asked_for_a_while(pacing: Pacing, clock: Clock) -> None:
    pacing.found_nothing()
    assert pacing.claim_size(0, 0) == 0
    clock.now += TIMERS.nothing
    assert pacing.claim_size(0, 0) > 0


def test_an_announcement_ends_the_waiting(pacing: Pacing) -> None:
    pacing.found_nothing()
    pacing.look_again()
    assert pacing.claim_size(0, 0) > 0


def test_while_reports_fail_there_is_a_limit_to_what_is_claimed(pacing: Pacing) -> None:
    assert pacing.claim_size(0, MAX_UNREPORTED) > 0
    assert pacing.claim_size(0, MAX_UNREPORTED + 1) == 0


def test_files_are_reported_before_that_limit_whatever_the_settings_say(clock: Clock) -> None:
    settings = Settings(cache_progress_file_threshold=10**9, cache_progress_time_threshold=60_000)
    pacing = Pacing(settings, TIMERS, clock)
    clock.now += TIMERS.report
    assert pacing.is_report_due(MAX_AHEAD, is_idle=False)


def test_not_all_readers_are_given_files_before_it_is_known_how_large_they_are(
    clock: Clock,
) -> None:
    pacing = Pacing(Settings(worker_concurrency=64), TIMERS, clock)
    assert pacing.claim_size(0, 0) == MAX_CONCURRENT_LARGE + MIN_AHEAD
    assert pacing.claim_size(40, 0) == MAX_CONCURRENT_LARGE + MIN_AHEAD
    assert pacing.claim_size(60, 0) == 4 + MIN_AHEAD


def test_a_stock_grows_from_a_first_few_since_thousands_take_long_to_claim(
    pacing: Pacing, clock: Clock
) -> None:
    work_at(pacing, clock, items_per_second=100_000)
    assert pacing.claim_size(0, unreported=0) == FIRST_CLAIM
    assert pacing.claim_size(FIRST_CLAIM, unreported=0) == 3 * FIRST_CLAIM


def test_the_time_of_the_next_report_is_known(pacing: Pacing, clock: Clock) -> None:
    pacing.reported(0)
    assert pacing.seconds_until_report() == pytest.approx(2.0)
    clock.now += 1.5
    assert pacing.seconds_until_report() == pytest.approx(0.5)
    clock.now += 5
    assert pacing.seconds_until_report() == 0


def test_an_idle_worker_rests_until_something_is_announced(pacing: Pacing) -> None:
    assert pacing.seconds_until_report(is_idle=True) == TIMERS.idle
    assert pacing.seconds_until_claim(is_idle=True, moving=0) == TIMERS.idle


def test_the_fewer_files_are_left_to_read_the_longer_a_claim_waits(pacing: Pacing) -> None:
    assert pacing.seconds_until_claim(is_idle=False, moving=FEW_READS) == TIMERS.check
    assert pacing.seconds_until_claim(is_idle=False, moving=FEW_READS + 1) == TIMERS.gather
