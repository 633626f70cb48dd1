"""Where a request comes from, by the headers of trusted proxies."""

from __future__ import annotations

import socket

from aiohttp import hdrs, web

from gateway.http.app_keys import CLIENT_ADDRESS, TRUSTED_PROXIES
from gateway.net.addresses import TrustedProxies, is_loopback, is_loopback_chain, is_loopback_host


def note_client_address(request: web.Request) -> None:
    """Set the request's `CLIENT_ADDRESS`. A host application may override ``request.remote``."""
    request[CLIENT_ADDRESS] = client_address(request, request.app[TRUSTED_PROXIES])


def client_address(request: web.BaseRequest, proxies: TrustedProxies) -> str:
    """The client's address, from X-Forwarded-For if the peer is one of ``proxies``."""
    address = request.remote or ""
    if not proxies.networks:
        return address
    return proxies.client_of(address, request.headers.getall(hdrs.X_FORWARDED_FOR, ()))


def is_https(request: web.BaseRequest, proxies: TrustedProxies) -> bool:
    """Whether the client used HTTPS, up to the gateway or to a trusted proxy."""
    if request.secure:
        return True
    scheme = _nearest(request, hdrs.X_FORWARDED_PROTO).lower()
    return scheme == "https" and proxies.trusts(request.remote or "")


def url_of_client(request: web.Request) -> str:
    """The full URL that the client requested, by the request and by trusted proxies.

    A proxy that changes the host or strips a prefix sends X-Forwarded-Host and X-Forwarded-Prefix.
    """
    if not request.raw_path.startswith("/"):
        return request.raw_path
    proxies, prefix = request.app[TRUSTED_PROXIES], ""
    if proxies.trusts(request.remote or ""):
        prefix = _nearest(request, "X-Forwarded-Prefix").rstrip("/")
    scheme = "https" if is_https(request, proxies) else "http"
    return f"{scheme}://{host_of_client(request)}{prefix}{request.raw_path}"


def host_of_client(request: web.Request) -> str:
    """The host and port that the client requested, by the request and by trusted proxies."""
    host = request.headers.get(hdrs.HOST, "")
    if not request.app[TRUSTED_PROXIES].trusts(request.remote or ""):
        return host
    return _nearest(request, hdrs.X_FORWARDED_HOST) or host


def _nearest(request: web.BaseRequest, name: str) -> str:
    """The value of the nearest proxy, which is the last one."""
    lines = request.headers.getall(name, ("",))
    return lines[-1].rpartition(",")[2].strip()


def is_local(request: web.Request) -> bool:
    """Whether the request comes from this machine: over loopback or a Unix socket.

    The headers of any proxy count, trusted or not: they can only show that a request comes from
    elsewhere. So does the ``request.remote`` of a host application. The Host header must name
    loopback, against DNS rebinding.
    """
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport is not None else None
    if transport is None or connection is None:
        return False
    remote, peer = request.remote or "", transport.get_extra_info("peername")
    if connection.family == getattr(socket, "AF_UNIX", None):
        is_near = not remote or is_loopback(remote)
    else:
        # A connection that was reset has no peer: it may have come from anywhere.
        is_near = (
            bool(peer)
            and is_loopback(peer[0])
            and is_loopback(remote)
            and is_loopback_host(request.headers.get(hdrs.HOST, ""))
        )
    return is_near and _is_loopback_by_proxies(request)


def _is_loopback_by_proxies(request: web.Request) -> bool:
    headers = request.headers
    addresses = (*headers.getall(hdrs.X_FORWARDED_FOR, ()), *headers.getall("X-Real-IP", ()))
    return hdrs.FORWARDED not in headers and is_loopback_chain(addresses)
