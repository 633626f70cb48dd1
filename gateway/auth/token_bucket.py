"""Token buckets: so many requests at once, refilled evenly. Pure; the clock is injected.

Algorithm: https://en.wikipedia.org/wiki/Token_bucket
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

REMEMBERED_CALLERS = 10_000


class Decision(NamedTuple):
    """What a bucket said: whether a token was there, how many are left, and the waits.

    ``policy`` is the name of the limit.
    ``retry_after`` is the time until the next token, ``reset_after`` until the bucket is full:
    both in whole seconds, rounded up.
    """

    policy: str
    allowed: bool
    limit: int
    remaining: int
    retry_after: int
    reset_after: int

    @property
    def fields(self) -> Mapping[str, str]:
        """What it said, in the fields of the IETF draft "RateLimit header fields for HTTP"."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit};w=60',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset_after}',
        }


@dataclass(slots=True)
class TokenBucket:
    """One caller's bucket, at first full."""

    policy: str
    capacity: int
    tokens_per_second: float
    tokens: float
    filled_at: float

    def take(self, now: float) -> Decision:
        """Take one token if there is one. ``now`` is in seconds, of a clock that never falls."""
        self._refill(now)
        allowed = self.tokens >= 1
        if allowed:
            self.tokens -= 1
        return Decision(
            policy=self.policy,
            allowed=allowed,
            limit=self.capacity,
            remaining=int(self.tokens),
            retry_after=self._seconds_until(1),
            reset_after=self._seconds_until(self.capacity),
        )

    def _refill(self, now: float) -> None:
        elapsed = max(0.0, now - self.filled_at)
        self.tokens = min(float(self.capacity), self.tokens + elapsed * self.tokens_per_second)
        self.filled_at = now

    def _seconds_until(self, tokens: int) -> int:
        missing = max(0.0, tokens - self.tokens)
        return math.ceil(missing / self.tokens_per_second)


class TokenBuckets:
    """A bucket for each caller, of ``per_minute`` tokens; 0 means that nobody is limited.

    ``policy`` names the limit in answers.
    Memory is bounded: of more than 10,000 callers the one unseen for longest is forgotten.
    """

    def __init__(
        self, policy: str, per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._policy = policy
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def take(self, caller: Hashable, per_minute: int | None = None) -> Decision | None:
        """Take a token from the caller's bucket. None: there is no limit.

        ``per_minute`` is the caller's own limit, in place of everybody's; of each limit that he
        ever shows he has a bucket.
        """
        most = self._per_minute if per_minute is None else per_minute
        if not most:
            return None
        now = self._clock()
        return self._bucket(caller, most, now).take(now)

    def _bucket(self, caller: Hashable, most: int, now: float) -> TokenBucket:
        # Known by the limit as well: taking turns with two of them must not fill a bucket.
        owner = (caller, most)
        bucket = self._buckets.get(owner)
        if bucket is None:
            bucket = TokenBucket(self._policy, most, most / 60, float(most), now)
            self._buckets[owner] = bucket
            if len(self._buckets) > REMEMBERED_CALLERS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(owner)
        return bucket
