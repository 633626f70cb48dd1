"""API keys → `Caller`."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256
from typing import Final

from gateway.errors import Unauthorized
from gateway.settings import DEMO_KEY


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
    """The keys that open the API, held as SHA-256 digests: keys are random, not passwords.

    While the key in force is the demo key, which everybody knows, it opens to this machine alone,
    unless ``allow_demo_key``. To be used in one thread.
    """

    def __init__(self, key: str, allow_demo_key: bool = False) -> None:
        self.generation = 0
        """Rises whenever another key comes into force."""
        self._own_digest = self._digest = _digest(key)
        self._allow_demo_key = allow_demo_key
        self._holders: dict[Callable[[], None], None] = {}

    def replace(self, key: str) -> None:
        """Let another key take the place of the first one."""
        self._enforce(_digest(key))

    def restore(self) -> None:
        """Let the first key hold again."""
        self._enforce(self._own_digest)

    @property
    def is_demo_key(self) -> bool:
        """Whether the demo key is in force: then it matters where a caller is."""
        return self._digest == DEMO_DIGEST

    def authenticate(self, sent: str | None, address: str, *, is_local: bool = False) -> Caller:
        """The caller that ``sent`` (the X-API-Key header) proves. Raises `Unauthorized`.

        ``is_local`` says that the caller is on this machine.
        """
        # Digests of equal length, compared in constant time, tell nothing of the key.
        if sent is None or not hmac.compare_digest(_digest(sent), self._digest):
            raise Unauthorized
        if not (is_local or self._allow_demo_key) and self.is_demo_key:
            raise Unauthorized("The demo API key is accepted from this machine only")
        return Caller("default", address)

    def call_when_replaced(self, call: Callable[[], None]) -> None:
        """Call ``call`` whenever another key comes into force, until `call_no_more`."""
        self._holders[call] = None

    def call_no_more(self, call: Callable[[], None]) -> None:
        """Undo `call_when_replaced`. Without effect if there is nothing to undo."""
        self._holders.pop(call, None)

    def _enforce(self, digest: bytes) -> None:
        if digest == self._digest:
            return
        self._digest = digest
        self.generation += 1
        for call in tuple(self._holders):
            call()


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


DEMO_DIGEST: Final = _digest(DEMO_KEY)
