"""The token buckets of the gateway."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.auth.access import Access
from gateway.auth.callers import Caller
from gateway.auth.token_bucket import Decision, TokenBuckets
from gateway.net.addresses import rate_limit_network
from gateway.settings import Settings

BAD_KEYS_PER_MINUTE = 10


class Limits:
    """Three kinds of buckets: requests and polls per caller, bad keys per address."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests = TokenBuckets("requests", settings.rate_limit_per_minute, clock)
        self._polls = TokenBuckets("polls", settings.poll_limit_per_minute, clock)
        self._bad_keys = TokenBuckets("bad-keys", BAD_KEYS_PER_MINUTE, clock)

    def draw(self, access: Access, caller: Caller) -> Decision | None:
        """Draw a token for a request. None: there is no limit."""
        if access is Access.POLL:
            return self._polls.take(caller.rate_limit_key, caller.grants.poll_limit_per_minute)
        return self._requests.take(caller.rate_limit_key, caller.grants.rate_limit_per_minute)

    def draw_for_bad_key(self, address: str) -> Decision | None:
        """Draw a token for a failed authentication; valid keys of the address do not need one.

        All addresses of an IPv6 /64 network share a bucket.
        """
        return self._bad_keys.take(rate_limit_network(address))
