"""Authentication and admission of requests, shared by the middleware, fast path and WebSocket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import hdrs, web

from gateway import errors
from gateway.auth.access import Access
from gateway.auth.callers import Caller, Scope
from gateway.auth.signatures import Message
from gateway.auth.token_bucket import Decision
from gateway.auth.tokens import Tokens
from gateway.http.app_keys import (
    API_KEYS,
    CALLER,
    CLIENT_ADDRESS,
    DECISION,
    LIMITS,
    NONCE_CACHE,
    READINESS,
    SETTINGS,
    SIGNATURE,
    SIGNATURES,
    TOKENS,
)
from gateway.http.forwarded import is_local, url_of_client
from gateway.http.origins import is_cross_origin
from gateway.job import Job

SENT_BEFORE: Final = "A request with this signature's nonce was sent before"


async def authenticate_request(request: web.Request) -> Caller | None:
    """The caller by the request's API key, or else its bearer token, or else its signature.

    None: it carries none of them. Raises as `authenticate`, `authenticate_token` and
    `authenticate_signature` do.
    """
    key = request.headers.get("X-API-Key")
    if key is not None:
        return authenticate(request, key)
    # Without an issuer the header belongs to the application that mounts the gateway.
    if (tokens := request.app.get(TOKENS)) and (token := _bearer_token(request)) is not None:
        return await authenticate_token(request, tokens, token)
    if "Signature-Input" in request.headers or "Signature" in request.headers:
        return authenticate_signature(request)
    return None


def _bearer_token(request: web.Request) -> str | None:
    """The token by RFC 6750, section 2.1; that RFC's other methods leave tokens in logs."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def authenticate_token(request: web.Request, tokens: Tokens, token: str) -> Caller:
    """The token's caller.

    Raises `InvalidToken`, `RateLimited` after too many failures, `Unavailable` while the token
    cannot be checked.
    """
    address = request[CLIENT_ADDRESS]
    with rate_limit_failures(request):
        return await tokens.authenticate(token, address)


def authenticate(request: web.Request, key: str | None) -> Caller:
    """The key's caller. Raises `Unauthorized`, or `RateLimited` after too many failures."""
    address = request[CLIENT_ADDRESS]
    with rate_limit_failures(request):
        keys = request.app[API_KEYS]
        is_near = keys.is_demo_key and is_local(request) and not is_cross_origin(request)
        return keys.authenticate(key, address, is_local=is_near)


def authenticate_signature(request: web.Request) -> Caller:
    """The caller whose key signed the request's head, with a nonce that is new to this gateway.

    Keeps the signature in `SIGNATURE`: its digest of the body is yet to be checked. Raises
    `InvalidSignature`, `Unauthorized` if the key is not valid, `RateLimited` after too many
    failures, `Starting` while keys are not loaded.
    """
    signatures = request.app[SIGNATURES]
    message = Message(request.method, url_of_client(request), request.headers)
    with rate_limit_failures(request):
        signature = signatures.verify(message, has_body=request.body_exists)
        caller = signature.key.caller(request[CLIENT_ADDRESS], signatures.now)
        name, nonce = signature.key.name, signature.nonce
        if not request.app[NONCE_CACHE].spend(name, nonce, signature.end, signatures.now):
            raise errors.InvalidSignature(SENT_BEFORE)
    request[SIGNATURE] = signature
    return caller


@contextmanager
def rate_limit_failures(request: web.Request) -> Iterator[None]:
    """Draw a token of the address for each failure. Raises `RateLimited` if there is none."""
    try:
        yield
    except errors.Unauthorized:
        _keep(request, request.app[LIMITS].draw_for_bad_key(request[CLIENT_ADDRESS]))
        raise


def check_origin(request: web.Request) -> None:
    """Raise `Forbidden` for a page of another origin, or `RateLimited` after too many.

    For WebSockets, which browsers let any page open: CORS does not cover them.
    """
    if is_cross_origin(request):
        _keep(request, request.app[LIMITS].draw_for_bad_key(request[CLIENT_ADDRESS]))
        raise errors.Forbidden("Pages of this origin may not connect, see CORS_ORIGINS")


def visible_owner(app: web.Application, caller: Caller) -> str | None:
    """The key name whose jobs the caller may see; None: every job."""
    if app[SETTINGS].isolate_callers and not caller.may(Scope.ADMIN):
        return caller.key_name
    return None


def require_visible(job: Job, owner: str | None) -> None:
    """Raise `JobNotFound` for another caller's job, as for one that does not exist."""
    if owner is not None and job.submitted_by != owner:
        raise errors.JobNotFound


def admit(
    request: web.BaseRequest,
    app: web.Application,
    caller: Caller,
    access: Access,
    scope: Scope | None,
) -> None:
    """Draw a token for the caller, then check its scope and that the gateway is ready.

    The draw comes first, so that requests without the scope are limited too. ``app`` is passed
    because the request has none before it is routed. Raises `RateLimited`, `ScopeMissing` and
    `Starting`.
    """
    request[CALLER] = caller
    _keep(request, app[LIMITS].draw(access, caller))
    if scope is not None:
        caller.require(scope)
    app[READINESS].check()


def _keep(request: web.BaseRequest, decision: Decision | None) -> None:
    """Keep the decision for the response's headers. Raises `RateLimited` if it is a refusal."""
    if decision is None:
        return
    request[DECISION] = decision
    if not decision.allowed:
        raise errors.RateLimited(decision.retry_after)
