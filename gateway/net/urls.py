"""Which URLs nobody on the way could answer in place of."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from gateway.net.addresses import is_loopback


def is_safe_url(url: str) -> bool:
    """Whether nobody on the way could answer in its place: by https, or on this machine."""
    parts = _split(url)
    return parts is not None and (parts.scheme == "https" or _is_here(parts))


def is_discoverable(issuer: str) -> bool:
    """Whether an issuer says where its keys are: its name is a safe URL with nothing behind it."""
    return is_safe_url(issuer) and not ("?" in issuer or "#" in issuer)


def _split(url: str) -> SplitResult | None:
    """The parts of a URL of the web; None if it is none."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError for what is no port
    except ValueError:
        return None
    is_whole = parts.hostname and parts.scheme in ("https", "http")
    return parts if is_whole and url.isprintable() and " " not in url else None


def _is_here(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    return host == "localhost" or is_loopback(host)


def is_plain_http(url: str) -> bool:
    """Whether it is a URL without TLS."""
    return urlsplit(url).scheme == "http"
