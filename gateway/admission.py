"""Who may come in: a request's key and its token. Shared by every way in."""

from __future__ import annotations

from aiohttp import web

from gateway import errors
from gateway.auth import Access, Caller
from gateway.keys import API_KEYS, DECISION, LIMITS
from gateway.token_bucket import Decision


def authenticate(request: web.Request, key: str | None) -> Caller:
    """The caller that the key proves. Raises `Unauthorized`, or `RateLimited` after too many."""
    address = request.remote or ""
    try:
        return request.app[API_KEYS].authenticate(key, address)
    except errors.Unauthorized:
        _keep(request, request.app[LIMITS].draw_for_bad_key(address))
        raise


def draw(request: web.Request, access: Access, caller: Caller) -> None:
    """Draw a token for the caller. Raises `RateLimited` if there is none."""
    _keep(request, request.app[LIMITS].draw(access, caller))


def _keep(request: web.Request, decision: Decision | None) -> None:
    """Keep what the bucket said for the response's headers; refuse if it was empty."""
    if decision is None:
        return
    request[DECISION] = decision
    if not decision.allowed:
        raise errors.RateLimited(decision.retry_after)
