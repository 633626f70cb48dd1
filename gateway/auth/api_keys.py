"""API keys → `Caller`."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from gateway.auth.callers import DEFAULT_NAME, EVERYTHING, Caller, Grants
from gateway.auth.key_secret import is_secret
from gateway.errors import InvalidSignature, Starting, Unauthorized
from gateway.settings import DEMO_KEY

REMEMBERED_CALLERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key of the database, known by its digest. Times are in seconds of the Unix clock.

    A key with ``public_key`` (Ed25519, 32 bytes) has no secret: its requests are signed.
    """

    name: str
    digest: bytes
    grants: Grants
    expires_at: float | None = None
    is_disabled: bool = False
    is_revoked: bool = False
    public_key: bytes | None = None

    def caller(self, address: str, now: float) -> Caller:
        """The key's caller. Raises `Unauthorized` if it is revoked, disabled or expired."""
        if self.is_revoked:
            raise Unauthorized(f'The API key "{self.name}" was revoked')
        if self.is_disabled:
            raise Unauthorized(f'The API key "{self.name}" is disabled')
        if self.expires_at is not None and self.expires_at <= now:
            raise Unauthorized(f'The API key "{self.name}" has expired')
        return Caller(self.name, address, self.grants, self.expires_at, self.digest)


class ApiKeys:
    """The valid API keys, as SHA-256 digests: keys are random, not passwords.

    The key of the settings has every scope; those of the database (`load`) have their grants. The
    public demo key is valid on this machine only, unless ``allow_demo_key``. Not thread-safe.
    """

    def __init__(
        self,
        key: str,
        allow_demo_key: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._own_digest = self._digest = digest_of(key)
        self._allow_demo_key = allow_demo_key
        self._clock = clock
        self._stored: Mapping[bytes, StoredKey] | None = None
        # By digest and address: a digest does not reveal its key.
        self._callers: dict[tuple[bytes, str], Caller] = {}
        self._signers: Mapping[str, StoredKey] = {}
        self._subscribers: dict[Callable[[], None], None] = {}

    def replace(self, key: str) -> None:
        """Replace the key of the settings."""
        self._set_key(digest_of(key))

    def restore(self) -> None:
        """Undo `replace`."""
        self._set_key(self._own_digest)

    @property
    def is_demo_key(self) -> bool:
        """Whether the demo key is in force, so that it matters where a caller is."""
        return self._digest == DEMO_DIGEST

    def load(self, stored: Iterable[StoredKey]) -> None:
        """Replace the keys of the database."""
        keys = {key.digest: key for key in stored}
        if keys != self._stored:
            self._stored = keys
            self._signers = {key.name: key for key in keys.values() if key.public_key}
            self._notify()

    def authenticate(self, sent: str | None, address: str, *, is_local: bool = False) -> Caller:
        """The caller of the key ``sent`` (X-API-Key). Raises `Unauthorized`.

        ``is_local``: the caller is on this machine. Raises `Starting` for a possible key of the
        database before `load`.
        """
        if sent is None:
            raise Unauthorized
        digest = digest_of(sent)
        caller = self._callers.get((digest, address))
        if caller is None or self._has_expired(caller):
            caller = self._find_caller(sent, digest, address)
            self._remember(caller, digest)
        if caller.credential_digest == DEMO_DIGEST and not (is_local or self._allow_demo_key):
            raise Unauthorized("The demo API key is accepted from this machine only")
        return caller

    def find_signer(self, name: str) -> StoredKey:
        """The signing key of this name, which may be revoked, disabled or expired.

        Raises `InvalidSignature` if there is none, `Starting` before `load`.
        """
        if self._stored is None:
            raise Starting
        key = self._signers.get(name)
        if key is None:
            raise InvalidSignature("No key that signs has this keyid")
        return key

    def is_valid(self, caller: Caller) -> bool:
        """Whether the caller's credential is still valid and has the same grants."""
        if self._has_expired(caller):
            return False
        if caller.credential_digest is None or caller.credential_digest == self._digest:
            return True
        key = (self._stored or {}).get(caller.credential_digest)
        try:
            return key is not None and key.caller(caller.address, self._clock()) == caller
        except Unauthorized:
            return False

    def subscribe(self, call: Callable[[], None]) -> None:
        """Call ``call`` whenever the keys change, until `unsubscribe`."""
        self._subscribers[call] = None

    def unsubscribe(self, call: Callable[[], None]) -> None:
        """Undo `subscribe`, if there is anything to undo."""
        self._subscribers.pop(call, None)

    def _has_expired(self, caller: Caller) -> bool:
        return caller.expires_at is not None and caller.expires_at <= self._clock()

    def _find_caller(self, sent: str, digest: bytes, address: str) -> Caller:
        # A comparison in constant time reveals nothing of the key.
        if hmac.compare_digest(digest, self._digest):
            return Caller(DEFAULT_NAME, address, EVERYTHING, credential_digest=digest)
        return self._find(sent, digest).caller(address, self._clock())

    def _remember(self, caller: Caller, digest: bytes) -> None:
        """Cache a caller until the keys change."""
        if len(self._callers) >= REMEMBERED_CALLERS:
            self._callers.clear()
        self._callers[digest, caller.address] = caller

    def _find(self, sent: str, digest: bytes) -> StoredKey:
        if not is_secret(sent):
            raise Unauthorized
        if self._stored is None:
            raise Starting
        # A client cannot choose a digest without the key, so the time of the look-up is safe.
        key = self._stored.get(digest)
        if key is None or key.public_key is not None:
            raise Unauthorized
        return key

    def _set_key(self, digest: bytes) -> None:
        if digest == self._digest:
            return
        self._digest = digest
        self._notify()

    def _notify(self) -> None:
        self._callers.clear()
        for call in tuple(self._subscribers):
            call()


def digest_of(key: str) -> bytes:
    """The SHA-256 digest of a key."""
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


DEMO_DIGEST: Final = digest_of(DEMO_KEY)
