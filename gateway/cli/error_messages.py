"""Why a command did not get what it asked for: one sentence with what to do, and an exit code."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp

from gateway.cli.client_settings import DEFAULT_URL, ClientSettings
from gateway.cli.credentials import Signing
from gateway.cli.exit_codes import ExitCode
from gateway.cli.formatting import printable, say, say_some
from gateway.cli.path_kinds import NOT_FOUND
from gateway.client import GatewayClientError, GatewayUnreachable

AWAY = (502, 503, 504)


def tell(error: GatewayClientError, settings: ClientSettings) -> ExitCode:
    """Say on standard error what is wrong, and return how the command ends."""
    say(f"Error: {printable(_sentence(error, settings))}")
    if hint := _hint(error, settings):
        say(hint)
    details = error.details if isinstance(error.details, list) else []
    say_some("It names:", [_detail(one) for one in details] if len(details) > 1 else [])
    return code_for(error)


def code_for(error: GatewayClientError) -> ExitCode:
    """Who is to blame, as a code: nobody there, the caller, or the gateway."""
    if _is_no_gateway(error) or error.status in AWAY:
        return ExitCode.UNREACHABLE
    return ExitCode.REFUSED if (error.status or 0) < 500 else ExitCode.FAILED


def _sentence(error: GatewayClientError, settings: ClientSettings) -> str:
    url = settings.url.value
    if isinstance(error, GatewayUnreachable):
        return f"No gateway answers at {url}: {_reason(error)}"
    if error.status in AWAY:
        reason = f"a proxy says {error.status}" if _is_no_gateway(error) else error
        return f"The gateway at {url} cannot do its work now: {reason}"
    if _is_no_gateway(error):
        return f"What answers at {url} is no gateway: {error}"
    if _is_elsewhere(error):
        return f"No gateway's routes begin at {url}: {error}"
    return str(error)


def _is_elsewhere(error: GatewayClientError) -> bool:
    """Whether there is no such route, where of a job it would be said that there is none."""
    return error.status == NOT_FOUND and str(error) == "Not found"


def _is_no_gateway(error: GatewayClientError) -> bool:
    return error.status is None or error.status < 400 or "not JSON" in str(error)


def _hint(error: GatewayClientError, settings: ClientSettings) -> str:
    """Where the wrong thing came from, and where it can be set right."""
    if error.status == 401:
        return _where_the_key_is(settings)
    if isinstance(error.__cause__, aiohttp.ClientConnectorCertificateError):
        return "The authority that has signed it can be named with --ca-file or TEAMCACHE_CA_FILE"
    if _is_elsewhere(error):
        return (
            f"It is what stands before /api/v1, like {DEFAULT_URL}.\n{_where_the_url_is(settings)}"
        )
    if isinstance(error, GatewayUnreachable) and _speaks_no_tls(error):
        plain = settings.url.value.replace("https:", "http:", 1)
        return f"If it speaks HTTP, it is {plain}\n{_where_the_url_is(settings)}"
    if isinstance(error, GatewayUnreachable) or _is_no_gateway(error):
        return _where_the_url_is(settings)
    return ""


def _where_the_key_is(settings: ClientSettings) -> str:
    if isinstance(settings.credentials, Signing):
        return f"The request was signed with {settings.credentials.source}."
    if settings.credentials is not None:
        where = f"--token-file, TEAMCACHE_TOKEN, or as token in\n{settings.file}"
        return f"The token came from {settings.credentials.source}. Set it with {where}"
    source = f"came from {settings.key.source}" if settings.key else "was not given"
    where = f"--key-file, TEAMCACHE_API_KEY, or as api_key in\n{settings.file}"
    return f"The key {source}. Set it with {where}"


def _where_the_url_is(settings: ClientSettings) -> str:
    where = f"--url, TEAMCACHE_URL, or as url in\n{settings.file}"
    return f"The URL is {settings.url.source}. Set it with {where}"


def _reason(error: GatewayClientError) -> str:
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not believed ({_verdict(cause)})"
    if _speaks_no_tls(error):
        return "what answers there does not speak TLS as it should (https)"
    if isinstance(cause, aiohttp.ClientConnectorError):
        cause = cause.os_error
    if isinstance(cause, socket.gaierror):
        return "the name of the machine is not known"
    if isinstance(cause, OSError) and (number := _number(cause)):
        return os.strerror(number).lower()
    return str(cause or error)[:200]


def _speaks_no_tls(error: BaseException) -> bool:
    """Whether TLS is what failed, in whichever of the layers it was noticed."""
    cause = error.__cause__
    inner = getattr(cause, "os_error", None)
    return isinstance(cause, ssl.SSLError) or isinstance(inner, ssl.SSLError) or (
        cause is not None and _speaks_no_tls(cause)
    )  # fmt: skip


def _verdict(error: aiohttp.ClientConnectorCertificateError) -> str:
    return str(getattr(error.certificate_error, "verify_message", "")) or "it is not valid"


def _number(error: OSError) -> int | None:
    """The errno; where several addresses were tried, that of the first."""
    tried = getattr(error, "exceptions", None)
    return _number(tried[0]) if tried else error.errno


def _detail(detail: Any) -> str:
    if isinstance(detail, Mapping) and "path" in detail:
        return f"{str(detail['path']) or repr('')}: {detail.get('error')}"
    return str(detail)
