"""Who may come in: a request's key and its token. Shared by every way in."""

from __future__ import annotations

from aiohttp import hdrs, web

from gateway import errors
from gateway.auth import Access, Caller, Scope
from gateway.forwarded import is_local
from gateway.jobs import Job
from gateway.keys import API_KEYS, CLIENT_ADDRESS, DECISION, LIMITS, SETTINGS, TOKENS
from gateway.origins import is_strangers_page
from gateway.token_bucket import Decision
from gateway.tokens import Tokens


async def identify(request: web.Request) -> Caller | None:
    """The caller by what the request's head shows, a key or else a token; None: it shows nothing.

    Raises as `authenticate` and `authenticate_token` do.
    """
    key = request.headers.get("X-API-Key")
    if key is not None:
        return authenticate(request, key)
    # Where no tokens are taken the header is somebody else's.
    if (tokens := request.app.get(TOKENS)) and (token := _bearer_token(request)) is not None:
        return await authenticate_token(request, tokens, token)
    return None


def _bearer_token(request: web.Request) -> str | None:
    """RFC 6750, section 2.1. The other ways of that RFC leave tokens in logs."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def authenticate_token(request: web.Request, tokens: Tokens, token: str) -> Caller:
    """The caller that the token proves.

    Raises `InvalidToken`, `RateLimited` after too many of those, `Unavailable` while it cannot be
    checked.
    """
    address = request[CLIENT_ADDRESS]
    try:
        return await tokens.authenticate(token, address)
    except errors.InvalidToken:
        _keep(request, request.app[LIMITS].draw_for_bad_key(address))
        raise


def authenticate(request: web.Request, key: str | None) -> Caller:
    """The caller that the key proves. Raises `Unauthorized`, or `RateLimited` after too many."""
    address = request[CLIENT_ADDRESS]
    try:
        keys = request.app[API_KEYS]
        is_here = keys.is_demo_key and is_local(request) and not is_strangers_page(request)
        return keys.authenticate(key, address, is_local=is_here)
    except errors.Unauthorized:
        _keep(request, request.app[LIMITS].draw_for_bad_key(address))
        raise


def check_origin(request: web.Request) -> None:
    """Raise `Forbidden` for a stranger's page, or `RateLimited` after too many.

    For what browsers let any page open: of the rest they keep it by CORS.
    """
    if is_strangers_page(request):
        _keep(request, request.app[LIMITS].draw_for_bad_key(request[CLIENT_ADDRESS]))
        raise errors.Forbidden("Pages of this origin may not connect, see CORS_ORIGINS")


def sees_only(app: web.Application, caller: Caller) -> str | None:
    """The name whose jobs alone the caller sees; None: he sees all."""
    if app[SETTINGS].isolate_callers and not caller.may(Scope.ADMIN):
        return caller.key_name
    return None


def check_visible(job: Job, owner: str | None) -> None:
    """Raise `JobNotFound` for another's job, as for one that there never was."""
    if owner is not None and job.submitted_by != owner:
        raise errors.JobNotFound


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
