"""The secret of an API key: random, in a recognisable format."""

from __future__ import annotations

import base64
import secrets
import zlib
from binascii import Error
from typing import Final

PREFIX: Final = "tcg_"
RANDOM_BYTES: Final = 32
CHECK_BYTES: Final = 4
# 36 bytes make 48 letters, without padding.
LENGTH: Final = len(PREFIX) + 48


def make_secret() -> str:
    """A new secret: ``tcg_``, then 32 random bytes and their CRC-32 in URL-safe base64."""
    random = secrets.token_bytes(RANDOM_BYTES)
    return PREFIX + base64.urlsafe_b64encode(random + _check(random)).decode()


def is_secret(text: str) -> bool:
    """Whether the text has the format and checksum of a secret."""
    if len(text) != LENGTH or not text.startswith(PREFIX) or not text.isascii():
        return False
    try:
        decoded = base64.b64decode(text[len(PREFIX) :], altchars=b"-_", validate=True)
    except Error:
        return False
    return _check(decoded[:RANDOM_BYTES]) == decoded[RANDOM_BYTES:]


def _check(random: bytes) -> bytes:
    return zlib.crc32(random).to_bytes(CHECK_BYTES, "big")
