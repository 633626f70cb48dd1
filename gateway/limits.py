"""Which token bucket a request draws from."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.auth import Access, Caller
from gateway.settings import Settings
from gateway.token_bucket import Decision, TokenBuckets

BAD_KEYS_PER_MINUTE = 10


class Limits:
    """Three kinds of buckets: requests and polls per caller, bad keys per address."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = {
            Access.REQUEST: TokenBuckets("requests", settings.rate_limit_per_minute, clock),
            Access.POLL: TokenBuckets("polls", settings.poll_limit_per_minute, clock),
        }
        self._bad_keys = TokenBuckets("bad-keys", BAD_KEYS_PER_MINUTE, clock)

    def draw(self, access: Access, caller: Caller) -> Decision | None:
        """Draw a token for a request. None: nothing is limited."""
        own = {
            Access.REQUEST: caller.rights.rate_limit_per_minute,
            Access.POLL: caller.rights.poll_limit_per_minute,
        }
        return self._buckets[access].take(caller.bucket, own[access])

    def draw_for_bad_key(self, address: str) -> Decision | None:
        """Draw a token for a missing or wrong key; good keys from the address never need one."""
        return self._bad_keys.take(address)
