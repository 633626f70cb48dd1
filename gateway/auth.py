"""API keys → `Caller`, and what a caller may do."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from hashlib import sha256
from typing import Final, NamedTuple

from gateway.errors import InvalidSignature, ScopeMissing, Starting, Unauthorized
from gateway.key_secret import is_secret
from gateway.settings import DEMO_KEY


class Access(Enum):
    """What a route asks of its caller, beside a scope."""

    PUBLIC = auto()
    """Nothing."""
    METRICS = auto()
    """Nothing, unless the settings make metrics private: what `POLL` asks then."""
    REQUEST = auto()
    """A key, and a token of the caller's request bucket."""
    POLL = auto()
    """A key, and a token of the caller's poll bucket."""


class Scope(StrEnum):
    """A thing that a key may do."""

    JOBS_READ = "jobs:read"
    """See jobs and their files, follow their events, ask what paths mean."""
    JOBS_WRITE = "jobs:write"
    """Submit and cancel jobs."""
    METRICS_READ = "metrics:read"
    """See metrics, which strangers may see too unless the settings make them private."""
    ADMIN = "admin"
    """All of these, and every caller's jobs where the others see only their own."""


class Demand(NamedTuple):
    """What a request has to show: ``scope`` None, nothing beyond a key."""

    access: Access
    scope: Scope | None = None


@dataclass(frozen=True, slots=True)
class Rights:
    """What a key, or any other proof, lets its holder do.

    ``path_prefixes`` are absolute, without a trailing slash; none at all: whatever the gateway may
    cache. The limits are requests a minute and address, 0 for no limit; None: as the settings say.
    """

    scopes: frozenset[Scope]
    path_prefixes: tuple[str, ...] = ()
    rate_limit_per_minute: int | None = None
    poll_limit_per_minute: int | None = None


DEFAULT_NAME: Final = "default"
"""What the key of the settings is called."""

NAMES_BEGIN: Final = "jwt:"
"""What the names of callers with a token begin with, and those of keys never do."""

REMEMBERED_CALLERS: Final = 10_000

EVERYTHING: Final = Rights(frozenset(Scope))
"""What the key of the settings lets its holder do."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the name of the key, the address it was used from, and what it may do.

    Rate limits count per key and address: machines that share a key do not eat up each other's
    tokens. ``expires_at`` is in seconds of the Unix clock; None: never. ``proof`` is the digest of
    the key; None: proven by something else, which no change of the keys takes back.
    """

    key_name: str
    address: str
    rights: Rights
    expires_at: float | None = None
    proof: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def rights_of(self) -> tuple[str, Rights]:
        """Who may do what: of two that are equal, neither may see more than the other."""
        return self.key_name, self.rights

    @property
    def bucket(self) -> tuple[str, str]:
        """Whose tokens it draws."""
        return self.key_name, self.address

    def may(self, scope: Scope) -> bool:
        """Whether the caller has the scope; ``admin`` has them all."""
        return scope in self.rights.scopes or Scope.ADMIN in self.rights.scopes

    def require(self, scope: Scope) -> None:
        """Raise `ScopeMissing` unless the caller has the scope."""
        if not self.may(scope):
            what = "token" if self.proof is None else "API key"
            raise ScopeMissing(f'The {what} "{self.key_name}" lacks the scope {scope}')


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key of the database, known by its digest. Times are in seconds of the Unix clock.

    With ``public_key`` (Ed25519, 32 bytes) it has no secret: whoever has the private key signs.
    """

    name: str
    digest: bytes
    rights: Rights
    expires_at: float | None = None
    is_disabled: bool = False
    is_revoked: bool = False
    public_key: bytes | None = None

    def caller(self, address: str, now: float) -> Caller:
        """The caller that shows it. Raises `Unauthorized` while the key opens nothing."""
        if self.is_revoked:
            raise Unauthorized(f'The API key "{self.name}" was revoked')
        if self.is_disabled:
            raise Unauthorized(f'The API key "{self.name}" is disabled')
        if self.expires_at is not None and self.expires_at <= now:
            raise Unauthorized(f'The API key "{self.name}" has expired')
        return Caller(self.name, address, self.rights, self.expires_at, self.digest)


class ApiKeys:
    """The keys that open the API, held as SHA-256 digests: keys are random, not passwords.

    The key of the settings opens everything; those of the database (`load`) what each is for.
    While the key in force is the demo key, which everybody knows, it opens to this machine alone,
    unless ``allow_demo_key``. To be used in one thread.
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
        # By digest and address; a digest is as good as its key to look up, and tells nothing of it.
        self._callers: dict[tuple[bytes, str], Caller] = {}
        self._signers: Mapping[str, StoredKey] = {}
        self._holders: dict[Callable[[], None], None] = {}

    def replace(self, key: str) -> None:
        """Let another key take the place of the first one."""
        self._enforce(digest_of(key))

    def restore(self) -> None:
        """Let the first key hold again."""
        self._enforce(self._own_digest)

    @property
    def is_demo_key(self) -> bool:
        """Whether the demo key is in force: then it matters where a caller is."""
        return self._digest == DEMO_DIGEST

    def load(self, stored: Iterable[StoredKey]) -> None:
        """Let these keys of the database hold, and no others of it."""
        keys = {key.digest: key for key in stored}
        if keys != self._stored:
            self._stored = keys
            self._signers = {key.name: key for key in keys.values() if key.public_key}
            self._tell()

    def authenticate(self, sent: str | None, address: str, *, is_local: bool = False) -> Caller:
        """The caller that ``sent`` (the X-API-Key header) proves. Raises `Unauthorized`.

        ``is_local`` says that the caller is on this machine. Raises `Starting` for what may be a
        key of the database, while those are not known yet.
        """
        if sent is None:
            raise Unauthorized
        digest = digest_of(sent)
        caller = self._callers.get((digest, address))
        if caller is None or self._has_expired(caller):
            caller = self._find_caller(sent, digest, address)
            self._remember(caller, digest)
        if caller.proof == DEMO_DIGEST and not (is_local or self._allow_demo_key):
            raise Unauthorized("The demo API key is accepted from this machine only")
        return caller

    def find_signer(self, name: str) -> StoredKey:
        """The key of this name whose requests are signed; it may open nothing any more.

        Raises `InvalidSignature` if there is none, `Starting` while that is not known yet.
        """
        if self._stored is None:
            raise Starting
        key = self._signers.get(name)
        if key is None:
            raise InvalidSignature("No key that signs has this keyid")
        return key

    def holds(self, caller: Caller) -> bool:
        """Whether what the caller has shown is still worth what it was."""
        if self._has_expired(caller):
            return False
        if caller.proof is None or caller.proof == self._digest:
            return True
        key = (self._stored or {}).get(caller.proof)
        try:
            return key is not None and key.caller(caller.address, self._clock()) == caller
        except Unauthorized:
            return False

    def call_when_changed(self, call: Callable[[], None]) -> None:
        """Call ``call`` whenever a key may hold no more, until `call_no_more`."""
        self._holders[call] = None

    def call_no_more(self, call: Callable[[], None]) -> None:
        """Undo `call_when_changed`. Without effect if there is nothing to undo."""
        self._holders.pop(call, None)

    def _has_expired(self, caller: Caller) -> bool:
        return caller.expires_at is not None and caller.expires_at <= self._clock()

    def _find_caller(self, sent: str, digest: bytes, address: str) -> Caller:
        # Digests of equal length, compared in constant time, tell nothing of the key.
        if hmac.compare_digest(digest, self._digest):
            return Caller(DEFAULT_NAME, address, EVERYTHING, proof=digest)
        return self._find(sent, digest).caller(address, self._clock())

    def _remember(self, caller: Caller, digest: bytes) -> None:
        """Keep a caller until any key changes."""
        if len(self._callers) >= REMEMBERED_CALLERS:
            self._callers.clear()
        self._callers[digest, caller.address] = caller

    def _find(self, sent: str, digest: bytes) -> StoredKey:
        if not is_secret(sent):
            raise Unauthorized
        if self._stored is None:
            raise Starting
        # Looked up by what nobody can choose without knowing the key, so its time tells nothing.
        key = self._stored.get(digest)
        if key is None or key.public_key is not None:
            raise Unauthorized
        return key

    def _enforce(self, digest: bytes) -> None:
        if digest == self._digest:
            return
        self._digest = digest
        self._tell()

    def _tell(self) -> None:
        self._callers.clear()
        for call in tuple(self._holders):
            call()


def digest_of(key: str) -> bytes:
    """The SHA-256 digest by which a key is known."""
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


DEMO_DIGEST: Final = digest_of(DEMO_KEY)
