"""Serves an application until it has to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final, cast

from aiohttp import web
from yarl import URL

from gateway.errors import GatewayError
from gateway.http.app_keys import PROMETHEUS
from gateway.http.hsts import hsts_header
from gateway.monitors.certificate import CertificateMonitor
from gateway.monitors.loop import running
from gateway.net.certificate import ServerCertificate
from gateway.server.access_log import AccessLogger
from gateway.server.connection import HEAD_SECONDS, connection_factory
from gateway.server.poll_fast_path import PollFastPath, is_enabled
from gateway.settings import Settings

log = logging.getLogger(__name__)


# Longer than proxies keep theirs: else a connection may close just as a request arrives.
KEEPALIVE_SECONDS: Final = 75.0
# Seconds for a client to answer the closing of TLS; asyncio waits for 30 by default.
CLOSE_TIMEOUT: Final = 2.0
# Thousands of clients may reconnect at once after a restart.
BACKLOG: Final = 1024

# The local address of a server that listens on all addresses.
REACHED_AT: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class CannotListen(GatewayError):
    """The port is taken, or the address is not one of this machine. The message says which."""


async def serve(
    app: web.Application,
    settings: Settings,
    stop: asyncio.Event,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Serve ``app`` until ``stop`` is set, then let requests in flight end.

    Calls ``on_listening`` with the URL once the port is open. Raises `CannotListen`, and
    `CertificateRefused` with TLS.
    """
    certificate = _certificate_of(settings)
    has_fast_path = is_enabled(app)
    may_use_https = certificate is not None or settings.trusted_proxies
    hsts_max_age = settings.hsts_max_age if may_use_https else 0
    if hsts_max_age:
        app.on_response_prepare.append(hsts_header(hsts_max_age))
    runner = web.AppRunner(app, shutdown_timeout=settings.shutdown_timeout)
    async with AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        # `setup` makes the server.
        server = cast(web.Server, runner.server)
        if has_fast_path:
            server.request_handler = PollFastPath(app, server.request_handler, hsts_max_age).answer
        if certificate is not None:
            monitor = CertificateMonitor(certificate)
            await stack.enter_async_context(running(monitor, app[PROMETHEUS].heartbeats))
        listener = await _listen(server, settings, certificate)
        stack.callback(listener.close)
        url = _url_of(listener, "https" if certificate else "http")
        log.info(
            "TeamCache gateway %s for %s, listening on %s",
            *(_version(), ", ".join(settings.mount_points), url),
        )
        if on_listening is not None:
            on_listening(url)
        await stop.wait()
        log.info("stopping")


def _certificate_of(settings: Settings) -> ServerCertificate | None:
    if not settings.tls_certificate:
        return None
    return ServerCertificate(Path(settings.tls_certificate), Path(settings.tls_key))


def _version() -> str:
    # A package that is bundled without being installed has no metadata.
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("teamcache-gateway")
    return "(not installed)"


async def _listen(
    server: web.Server, settings: Settings, certificate: ServerCertificate | None
) -> asyncio.Server:
    host, port = settings.listen_host, settings.api_gateway_port
    connect = connection_factory(
        server,
        settings,
        access_log_class=AccessLogger,
        keepalive_timeout=KEEPALIVE_SECONDS,
    )
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {"backlog": BACKLOG, "reuse_address": True}
    if certificate is not None:
        options["ssl"] = certificate.context
        options["ssl_handshake_timeout"] = HEAD_SECONDS
        options["ssl_shutdown_timeout"] = CLOSE_TIMEOUT
    try:
        return await loop.create_server(connect, host, port, **options)
    except (OSError, UnicodeError) as error:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise CannotListen(f"Cannot listen on {place}: {_reason(error)}") from None


def _url_of(listener: asyncio.Server, scheme: str) -> str:
    host, port = listener.sockets[0].getsockname()[:2]
    return str(URL.build(scheme=scheme, host=REACHED_AT.get(host, host), port=port))


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "This is no name of a machine"
    # The name service has its own error numbers, and asyncio adds the address to other messages.
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)
