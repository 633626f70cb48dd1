"""Token buckets: bursts up to a capacity, refilled evenly. Pure; the clock is injected.

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
    """The result of taking a token.

    ``policy`` is the name of the limit, ``remaining`` the number of tokens left. ``retry_after`` is
    the time until the next token, ``reset_after`` until the bucket is full: in whole seconds,
    rounded up.
    """

    policy: str
    allowed: bool
    limit: int
    remaining: int
    retry_after: int
    reset_after: int

    @property
    def fields(self) -> Mapping[str, str]:
        """The header fields of the IETF draft "RateLimit header fields for HTTP"."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit};w=60',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset_after}',
        }


@dataclass(slots=True)
class TokenBucket:
    """One caller's bucket, full at first."""

    policy: str
    capacity: int
    tokens_per_second: float
    tokens: float
    filled_at: float

    def take(self, now: float) -> Decision:
        """Take one token if there is one. ``now`` is in monotonic seconds."""
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
    """A bucket of ``per_minute`` tokens for each caller; 0: no limit.

    ``policy`` is the name of the limit in responses. Memory is bounded: of more than 10,000 callers
    the least recently used is dropped.
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

        ``per_minute`` is the caller's own limit in place of the common one. A caller has one bucket
        for each limit that it uses.
        """
        limit = self._per_minute if per_minute is None else per_minute
        if not limit:
            return None
        now = self._clock()
        return self._bucket(caller, limit, now).take(now)

    def _bucket(self, caller: Hashable, limit: int, now: float) -> TokenBucket:
        # The limit is part of the key: alternating between two limits must not refill a bucket.
        owner = (caller, limit)
        bucket = self._buckets.get(owner)
        if bucket is None:
            bucket = TokenBucket(self._policy, limit, limit / 60, float(limit), now)
            self._buckets[owner] = bucket
            if len(self._buckets) > REMEMBERED_CALLERS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(owner)
        return bucket
