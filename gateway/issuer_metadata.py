"""Where an issuer of tokens says its keys are: OpenID Connect Discovery 1.0, RFC 8414. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

import orjson

from gateway.client_address import is_loopback
from gateway.errors import GatewayError

WELL_KNOWN: Final = "/.well-known/openid-configuration"


class InvalidMetadata(GatewayError):
    """What the issuer says of itself is not to be believed, or names no place of its keys."""


def is_safe_url(url: str) -> bool:
    """Whether nobody on the way could answer in its place: by https, or on this machine."""
    parts = _split(url)
    return parts is not None and (parts.scheme == "https" or _is_here(parts))


def is_discoverable(issuer: str) -> bool:
    """Whether an issuer says where its keys are: its name is a safe URL with nothing behind it."""
    return is_safe_url(issuer) and not ("?" in issuer or "#" in issuer)


def metadata_url(issuer: str) -> str:
    """Where it says so."""
    return issuer.rstrip("/") + WELL_KNOWN


def key_set_url(text: bytes, issuer: str) -> str:
    """The URL of the keys, by the document ``text``. Raises `InvalidMetadata`."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise InvalidMetadata("This is no description of an issuer")
    # Compared letter by letter, or another issuer of the same host could speak for this one.
    if document.get("issuer") != issuer:
        raise InvalidMetadata("This describes another issuer than the one that is set")
    url = document.get("jwks_uri")
    if not isinstance(url, str) or not is_safe_url(url):
        raise InvalidMetadata("This names no URL of keys that begins with https://")
    if _is_plain(url) and not _is_plain(issuer):
        raise InvalidMetadata("This names keys without https, which the issuer itself has")
    return url


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


def _is_plain(url: str) -> bool:
    return urlsplit(url).scheme == "http"
