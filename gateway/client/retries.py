"""Sending a request again that may be: when, and for how long."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp

from gateway.client.errors import GatewayClientError, GatewayUnreachable

STILL_RUNNING: Final = 409
AWAY: Final = 503
MIN_WAIT: Final = 0.25
MAX_WAIT: Final = 5.0


async def send_until_answered(
    send: Callable[[], Awaitable[Any]],
    patience: float,
    longest: float,
    on_wait: Callable[[float], None] | None = None,
) -> Any:
    """Send what bears an idempotency key again, until it is answered.

    A connection that broke and a 503 are borne for ``patience`` seconds, and for ``longest`` that
    an earlier attempt is still being answered. Where nobody listens at the first attempt, nothing
    is on its way: that is raised at once, as is every other refusal.
    """
    began, wait = now(), MIN_WAIT
    is_first = True
    while True:
        try:
            return await send()
        except GatewayClientError as error:
            asked = _wait_for(error, is_first, wait)
            limit = longest if error.status == STILL_RUNNING else patience
            if asked is None or now() + asked > began + limit:
                raise
        if on_wait is not None and asked >= 1:
            on_wait(asked)
        await asyncio.sleep(asked)
        is_first, wait = False, min(MAX_WAIT, 2 * wait)


def _wait_for(error: GatewayClientError, is_first: bool, wait: float) -> float | None:
    """The seconds until it is sent again; None if it is not."""
    if error.status == AWAY:
        return error.retry_after or wait
    if error.status == STILL_RUNNING or _was_cut_off(error, is_first):
        # Jitter: clients that lost the same gateway must not all come back at once.
        return random.uniform(wait / 2, wait)  # noqa: S311 - no secret
    return None


def _was_cut_off(error: GatewayClientError, is_first: bool) -> bool:
    """Whether the gateway may have got the request, or may come back to get it."""
    cause = error.__cause__
    if not isinstance(error, GatewayUnreachable) or cause is None:
        return False
    return not (is_first and isinstance(cause, aiohttp.ClientConnectorError))


def now() -> float:
    """The running loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
