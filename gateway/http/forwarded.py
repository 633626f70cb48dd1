"""Where a request comes from: what proxies say of it, as far as they are trusted."""

from __future__ import annotations

import socket

from aiohttp import hdrs, web

from gateway.app_keys import CLIENT_ADDRESS, TRUSTED_PROXIES
from gateway.net.addresses import TrustedProxies, is_loopback, is_loopback_chain, is_loopback_host


def note_client_address(request: web.Request) -> None:
    """Find out the client's address, once. ``request.remote`` is a host's word, if it has one."""
    request[CLIENT_ADDRESS] = client_address(request, request.app[TRUSTED_PROXIES])


def client_address(request: web.BaseRequest, proxies: TrustedProxies) -> str:
    """The client's address, by the word of ``proxies`` if it came through one of them."""
    address = request.remote or ""
    if not proxies.networks:
        return address
    return proxies.client_of(address, request.headers.getall(hdrs.X_FORWARDED_FOR, ()))


def is_https(request: web.BaseRequest, proxies: TrustedProxies) -> bool:
    """Whether the client used HTTPS, up to us or to a proxy that we trust."""
    if request.secure:
        return True
    said = _nearest(request, hdrs.X_FORWARDED_PROTO).lower()
    return said == "https" and proxies.trusts(request.remote or "")


def url_of_client(request: web.Request) -> str:
    """The URL as the client wrote it, in full, as far as we and trusted proxies know it.

    A proxy that changes the host or cuts off a prefix says so in X-Forwarded-Host and
    X-Forwarded-Prefix.
    """
    if not request.raw_path.startswith("/"):
        return request.raw_path
    proxies, prefix = request.app[TRUSTED_PROXIES], ""
    if proxies.trusts(request.remote or ""):
        prefix = _nearest(request, "X-Forwarded-Prefix").rstrip("/")
    scheme = "https" if is_https(request, proxies) else "http"
    return f"{scheme}://{host_of_client(request)}{prefix}{request.raw_path}"


def host_of_client(request: web.Request) -> str:
    """What the client calls us, with its port, as far as we and trusted proxies know it."""
    told = request.headers.get(hdrs.HOST, "")
    if not request.app[TRUSTED_PROXIES].trusts(request.remote or ""):
        return told
    return _nearest(request, hdrs.X_FORWARDED_HOST) or told


def _nearest(request: web.BaseRequest, name: str) -> str:
    """The nearest proxy's word, which is the last one."""
    lines = request.headers.getall(name, ("",))
    return lines[-1].rpartition(",")[2].strip()


def is_local(request: web.Request) -> bool:
    """Whether the request comes from this machine: over loopback or a Unix socket.

    Who stands behind a proxy counts too, be the proxy trusted or not: its word can only show that
    a request comes from elsewhere. So does whom a host has found out (``request.remote``). A name
    that is made to mean this machine (DNS rebinding) is what a stranger's page asks by.
    """
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport is not None else None
    if transport is None or connection is None:
        return False
    remote, peer = request.remote or "", transport.get_extra_info("peername")
    if connection.family == getattr(socket, "AF_UNIX", None):
        is_near = not remote or is_loopback(remote)
    else:
        # A connection that is reset by now has no peer any more: it may have come from anywhere.
        is_near = (
            bool(peer)
            and is_loopback(peer[0])
            and is_loopback(remote)
            and is_loopback_host(request.headers.get(hdrs.HOST, ""))
        )
    return is_near and _is_said_to_be_local(request)


def _is_said_to_be_local(request: web.Request) -> bool:
    headers = request.headers
    noted = (*headers.getall(hdrs.X_FORWARDED_FOR, ()), *headers.getall("X-Real-IP", ()))
    return hdrs.FORWARDED not in headers and is_loopback_chain(noted)
