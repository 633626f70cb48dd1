"""Where an issuer of tokens says its keys are: OpenID Connect Discovery 1.0, RFC 8414. Pure."""

from __future__ import annotations

from typing import Final

import orjson

from gateway.errors import GatewayError
from gateway.net.urls import is_plain_http, is_safe_url

WELL_KNOWN: Final = "/.well-known/openid-configuration"


class InvalidMetadata(GatewayError):
    """What the issuer says of itself is not to be believed, or names no place of its keys."""


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
    if is_plain_http(url) and not is_plain_http(issuer):
        raise InvalidMetadata("This names keys without https, which the issuer itself has")
    return url
