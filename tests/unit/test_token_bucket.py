"""Token buckets, on a manual clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.auth.access import Access
from gateway.auth.callers import EVERYTHING, Caller, Grants
from gateway.auth.rate_limits import Limits
from gateway.auth.token_bucket import REMEMBERED_CALLERS, Decision, TokenBuckets
from gateway.settings import Settings


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def take(buckets: TokenBuckets, caller: str = "a") -> Decision:
    decision = buckets.take(caller)
    assert decision is not None
    return decision


def test_a_bucket_is_full_at_first_and_then_empty(clock: Clock) -> None:
    buckets = TokenBuckets("requests", 10, clock)
    assert [take(buckets).remaining for _ in range(10)] == list(reversed(range(10)))
    assert take(buckets) == Decision("requests", False, 10, 0, retry_after=6, reset_after=60)


def test_it_fills_evenly(clock: Clock) -> None:
    buckets = TokenBuckets("requests", 10, clock)
    for _ in range(10):
        take(buckets)
    clock.now += 5.99
    assert not take(buckets).allowed
    clock.now += 0.02
    assert take(buckets).allowed
    assert not take(buckets).allowed


def test_waiting_as_long_as_it_says_is_enough(clock: Clock) -> None:
    buckets = TokenBuckets("requests", 7, clock)
    for _ in range(50):
        decision = take(buckets)
        if not decision.allowed:
            assert decision.retry_after >= 1
            clock.now += decision.retry_after
            assert take(buckets).allowed


def test_it_never_holds_more_than_its_size(clock: Clock) -> None:
    buckets = TokenBuckets("requests", 3, clock)
    take(buckets)
    clock.now += 1_000_000
    assert [take(buckets).allowed for _ in range(4)] == [True, True, True, False]


def test_a_stopped_or_falling_clock_adds_no_tokens(clock: Clock) -> None:
    buckets = TokenBuckets("requests", 1, clock)
    assert take(buckets).allowed
    clock.now -= 3600
    assert not take(buckets).allowed


def test_each_caller_has_a_separate_bucket(clock: Clock) -> None:
    buckets = TokenBuckets("requests", 1, clock)
    assert take(buckets, "a").allowed
    assert take(buckets, "b").allowed
    assert not take(buckets, "a").allowed


def test_0_means_no_limit(clock: Clock) -> None:
    assert TokenBuckets("requests", 0, clock).take("a") is None


def test_the_caller_unseen_for_longest_is_forgotten_first(clock: Clock) -> None:
    buckets = TokenBuckets("requests", 1, clock)
    take(buckets, "first")
    take(buckets, "second")
    assert not take(buckets, "first").allowed
    for number in range(REMEMBERED_CALLERS - 1):
        take(buckets, str(number))
    assert not take(buckets, "first").allowed
    assert take(buckets, "second").allowed


@hypothesis_settings(max_examples=50)
@given(
    st.integers(1, 200),
    st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=200),
)
def test_no_window_passes_more_than_a_full_bucket_and_what_flowed_in(
    per_minute: int, waits: list[float]
) -> None:
    clock = Clock()
    start = clock.now
    buckets = TokenBuckets("requests", per_minute, clock)
    passed = 0
    for wait in waits:
        clock.now += wait
        passed += take(buckets).allowed
    assert passed <= per_minute + (clock.now - start) * per_minute / 60 + 1e-6


def test_requests_and_polls_have_separate_limits_and_bad_keys_count_by_address(
    clock: Clock,
) -> None:
    limits = Limits(Settings(rate_limit_per_minute=1, poll_limit_per_minute=2), clock)
    caller = Caller("default", "10.0.0.1", EVERYTHING)
    request = limits.draw(Access.REQUEST, caller)
    poll = limits.draw(Access.POLL, caller)
    bad_key = limits.draw_for_bad_key("10.0.0.1")
    assert request is not None
    assert poll is not None
    assert bad_key is not None
    assert (request.policy, request.limit) == ("requests", 1)
    assert (poll.policy, poll.limit) == ("polls", 2)
    assert (bad_key.policy, bad_key.limit) == ("bad-keys", 10)


def test_machines_that_share_a_key_do_not_share_a_bucket(clock: Clock) -> None:
    limits = Limits(Settings(rate_limit_per_minute=1), clock)
    for address in ("10.0.0.1", "10.0.0.2"):
        decision = limits.draw(Access.REQUEST, Caller("default", address, EVERYTHING))
        assert decision is not None
        assert decision.allowed


def test_a_keys_own_limits_replace_those_of_the_settings(clock: Clock) -> None:
    limits = Limits(Settings(rate_limit_per_minute=1, poll_limit_per_minute=1), clock)
    grants = Grants(EVERYTHING.scopes, rate_limit_per_minute=2, poll_limit_per_minute=0)
    caller = Caller("render", "10.0.0.1", grants)
    answers = [limits.draw(Access.REQUEST, caller) for _ in range(3)]
    assert [it and it.allowed for it in answers] == [True, True, False]
    assert limits.draw(Access.POLL, caller) is None


def test_taking_turns_with_two_limits_fills_no_bucket(clock: Clock) -> None:
    buckets = TokenBuckets("requests", 10, clock)
    passed = 0
    for _ in range(20):
        for limit in (1, 2):
            decision = buckets.take("a", limit)
            passed += decision is not None and decision.allowed
    assert passed == 3
