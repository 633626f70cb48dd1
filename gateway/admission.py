"""Who may come in: a request's key and its token. Shared by every way in."""

from __future__ import annotations

import ipaddress
import socket

from aiohttp import web

from gateway import errors
from gateway.auth import Access, Caller
from gateway.keys import API_KEYS, DECISION, LIMITS
from gateway.token_bucket import Decision


def authenticate(request: web.Request, key: str | None) -> Caller:
    """The caller that the key proves. Raises `Unauthorized`, or `RateLimited` after too many."""
    address = request.remote or ""
    try:
        keys = request.app[API_KEYS]
        is_here = keys.is_demo_key and is_local(request)
        return keys.authenticate(key, address, is_local=is_here)
    except errors.Unauthorized:
        _keep(request, request.app[LIMITS].draw_for_bad_key(address))
        raise


def is_local(request: web.Request) -> bool:
    """Whether the request comes from this machine: over loopback or a Unix socket.

    Where a host has found out who stands behind its proxy (``request.remote``), he counts too.
    """
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport is not None else None
    if transport is None or connection is None:
        return False
    if connection.family == getattr(socket, "AF_UNIX", None):
        return not request.remote or _is_loopback(request.remote)
    # A connection that is reset by now has no peer any more: it may have come from anywhere.
    peer = transport.get_extra_info("peername")
    return bool(peer) and _is_loopback(peer[0]) and _is_loopback(request.remote)


def _is_loopback(address: str | None) -> bool:
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    # A socket that takes both kinds shows IPv4 inside IPv6.
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


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
