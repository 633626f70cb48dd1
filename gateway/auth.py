"""API keys → `Caller`."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256

from gateway.errors import Unauthorized


class Access(Enum):
    """What a route asks of its caller."""

    PUBLIC = auto()
    """Nothing."""
    REQUEST = auto()
    """A key, and a token of the caller's request bucket."""
    POLL = auto()
    """A key, and a token of the caller's poll bucket."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the name of the key, and the address it was used from.

    Rate limits count per caller: machines that share a key do not eat up each other's tokens.
    """

    key_name: str
    address: str


class ApiKeys:
    """The keys that open the API, held as SHA-256 digests: keys are random, not passwords."""

    def __init__(self, key: str) -> None:
        self._own_digest = self._digest = _digest(key)

    def replace(self, key: str) -> None:
        """Let another key take the place of the first one."""
        self._digest = _digest(key)

    def restore(self) -> None:
        """Let the first key hold again."""
        self._digest = self._own_digest

    def authenticate(self, sent: str | None, address: str) -> Caller:
        """The caller that ``sent`` (the X-API-Key header) proves. Raises `Unauthorized`."""
        # Digests of equal length, compared in constant time, tell nothing of the key.
        if sent is None or not hmac.compare_digest(_digest(sent), self._digest):
            raise Unauthorized
        return Caller("default", address)


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogateescape")).digest()
