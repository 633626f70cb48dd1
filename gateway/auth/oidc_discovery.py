"""The URL of an issuer's keys, by OpenID Connect Discovery 1.0 and RFC 8414. Pure."""

from __future__ import annotations

from typing import Final

import orjson

from gateway.errors import GatewayError
from gateway.net.urls import is_plain_http, is_safe_url

WELL_KNOWN: Final = "/.well-known/openid-configuration"


class InvalidMetadata(GatewayError):
    """The issuer's metadata is invalid, or has no usable URL of keys."""


def metadata_url(issuer: str) -> str:
    """The URL of the issuer's metadata."""
    return issuer.rstrip("/") + WELL_KNOWN


def key_set_url(text: bytes, issuer: str) -> str:
    """The URL of the keys in the metadata ``text``. Raises `InvalidMetadata`."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise InvalidMetadata("This is no description of an issuer")
    # Exactly equal, or another issuer on the same host could pose as this one.
    if document.get("issuer") != issuer:
        raise InvalidMetadata("This describes another issuer than the one that is set")
    url = document.get("jwks_uri")
    if not isinstance(url, str) or not is_safe_url(url):
        raise InvalidMetadata("This names no URL of keys that begins with https://")
    if is_plain_http(url) and not is_plain_http(issuer):
        raise InvalidMetadata("This names keys without https, which the issuer itself has")
    return url
