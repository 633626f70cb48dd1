"""Who may come in: a request's key and its token. Shared by every way in."""

from __future__ import annotations

from aiohttp import web

from gateway import errors
from gateway.auth import Access, Caller, Scope
from gateway.forwarded import is_local
from gateway.jobs import Job
from gateway.keys import API_KEYS, CLIENT_ADDRESS, DECISION, LIMITS, SETTINGS
from gateway.token_bucket import Decision


def authenticate(request: web.Request, key: str | None) -> Caller:
    """The caller that the key proves. Raises `Unauthorized`, or `RateLimited` after too many."""
    address = request[CLIENT_ADDRESS]
    try:
        keys = request.app[API_KEYS]
        is_here = keys.is_demo_key and is_local(request)
        return keys.authenticate(key, address, is_local=is_here)
    except errors.Unauthorized:
        _keep(request, request.app[LIMITS].draw_for_bad_key(address))
        raise


def sees_only(request: web.Request, caller: Caller) -> str | None:
    """The name whose jobs alone the caller sees; None: he sees all."""
    if request.app[SETTINGS].isolate_callers and not caller.may(Scope.ADMIN):
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
