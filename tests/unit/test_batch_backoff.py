"""How many batches may be locked at once: with a clock that the tests turn."""

from __future__ import annotations

import pytest

from gateway.worker.batch_backoff import (
    FIRST_PAUSE,
    FORGET_SECONDS,
    LONGEST_PAUSE,
    MOST_BATCHES,
    REFUSED_SECONDS,
    BatchPace,
)
from support.reader_kit import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> BatchPace:
    return BatchPace(clock)


def test_one_is_tried_first(pace: BatchPace) -> None:
    assert pace.most == 1


def test_after_a_success_there_are_more_until_it_is_forgotten(
    pace: BatchPace, clock: Clock
) -> None:
    pace.succeed()
    assert pace.most == MOST_BATCHES
    clock.now += FORGET_SECONDS
    assert pace.most == 1


def test_after_a_failure_there_is_none_and_then_one(pace: BatchPace, clock: Clock) -> None:
    pace.succeed()
    pace.fail()
    assert pace.most == 0
    clock.now += FIRST_PAUSE
    assert pace.most == 1


def test_failures_make_longer_and_longer_pauses_up_to_a_limit(
    pace: BatchPace, clock: Clock
) -> None:
    pauses = []
    for _ in range(8):
        pace.fail()
        began = clock.now
        while not pace.most:
            clock.now += 0.5
        pauses.append(clock.now - began)
    assert pauses[:4] == [FIRST_PAUSE * factor for factor in (1, 2, 4, 8)]
    assert pauses[-1] == LONGEST_PAUSE
    pace.succeed()
    pace.fail()
    clock.now += FIRST_PAUSE
    assert pace.most == 1


def test_files_that_are_not_small_are_no_failure(pace: BatchPace, clock: Clock) -> None:
    pace.succeed()
    pace.refuse()
    assert pace.most == 0
    clock.now += REFUSED_SECONDS
    assert pace.most == MOST_BATCHES
