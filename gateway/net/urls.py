"""Checks which URLs are safe from a man in the middle."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from gateway.net.addresses import is_loopback


def is_safe_url(url: str) -> bool:
    """Whether a man in the middle is excluded: https, or a loopback host."""
    parts = _split(url)
    return parts is not None and (parts.scheme == "https" or _is_local(parts))


def is_discoverable(issuer: str) -> bool:
    """Whether an issuer supports discovery: a safe URL without a query or fragment."""
    return is_safe_url(issuer) and not ("?" in issuer or "#" in issuer)


def _split(url: str) -> SplitResult | None:
    """The parts of an HTTP(S) URL; None if it is invalid."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError for an invalid port
    except ValueError:
        return None
    is_whole = parts.hostname and parts.scheme in ("https", "http")
    return parts if is_whole and url.isprintable() and " " not in url else None


def _is_local(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    return host == "localhost" or is_loopback(host)


def is_plain_http(url: str) -> bool:
    """Whether ``url`` is without TLS."""
    return urlsplit(url).scheme == "http"
