"""Checks of a signed request that need its body or the database."""

from __future__ import annotations

from aiohttp import hdrs, web

from gateway.auth.signatures import check_digest
from gateway.errors import InvalidSignature
from gateway.http.app_keys import BODY, NONCE_STORE, SIGNATURE
from gateway.http.authentication import SENT_BEFORE, rate_limit_failures
from gateway.http.request_body import BYTES_PER_ITEM, read_body
from gateway.runtime.offload import run_in_thread_if_large


async def check_signed_body(request: web.Request) -> None:
    """Check the body's digest and, of a request that changes something, the nonce at all gateways.

    A read that is replayed does no harm: the nonces in memory are enough for it. Raises
    `InvalidSignature`, `RateLimited` after too many, `DatabaseUnavailable`, and as `read_body`.
    """
    signature = request[SIGNATURE]
    with rate_limit_failures(request):
        if signature.digest is not None:
            if request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() != "identity":
                raise InvalidSignature("The body of a signed request must not be packed")
            request[BODY] = body = await read_body(request)
            await run_in_thread_if_large(
                len(body) // BYTES_PER_ITEM, check_digest, signature.digest, body
            )
        if _changes_something(request):
            store = request.app[NONCE_STORE]
            if not await store.spend(signature.key.name, signature.nonce):
                raise InvalidSignature(SENT_BEFORE)


def _changes_something(request: web.Request) -> bool:
    """Whether a replay does harm: all but reads. A replayed WebSocket goes on reading."""
    return request.method != hdrs.METH_GET or hdrs.UPGRADE in request.headers
