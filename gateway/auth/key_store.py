"""The API keys in the database: their digests and grants."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from gateway.auth.api_keys import digest_of
from gateway.auth.callers import DEFAULT_NAME, JWT_NAME_PREFIX, Scope
from gateway.auth.key_secret import make_secret
from gateway.database import Database, array_literal
from gateway.database.sql import load_queries
from gateway.errors import InvalidRequest, KeyNotFound, Unavailable

KEYS_CHANNEL: Final = "teamcache_gateway_keys"
MAX_NAME_LENGTH: Final = 100


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to create. ``path_prefixes`` are written like ALLOWED_PATHS.

    ``public_key`` (Ed25519, 32 bytes) replaces the secret: its requests are signed.
    """

    name: str
    scopes: Sequence[Scope]
    path_prefixes: Sequence[str] = ()
    rate_limit_per_minute: int | None = None
    poll_limit_per_minute: int | None = None
    expires_at: datetime | None = None
    public_key: bytes | None = None


@dataclass(frozen=True, slots=True)
class KeyRecord(NewKey):
    """A key in the database, with the digest of its secret."""

    digest: bytes = b""
    created_at: datetime | None = None
    disabled_at: datetime | None = None
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """``valid``, ``revoked``, ``disabled`` or ``expired``."""
        if self.revoked_at:
            return "revoked"
        if self.disabled_at:
            return "disabled"
        return "expired" if self.expires_at and self.expires_at <= now else "valid"


class KeyStore:
    """Creates and changes API keys. All gateways on the database are notified of changes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = load_queries("api_keys")

    async def check(self) -> None:
        """Raise `Unavailable` if the database has no table of keys yet, or an older one."""
        if not (await self._database.fetch_one(self._queries["exists"])).found:
            raise Unavailable(
                "The database is not prepared yet: start a gateway on it, or run"
                " teamcache-gateway migrate"
            )

    async def all(self) -> Sequence[KeyRecord]:
        """All keys, revoked ones too, the oldest first. Raises `DatabaseUnavailable`."""
        return [_build(row) for row in await self._database.fetch(self._queries["all"])]

    async def create(self, key: NewKey) -> str | None:
        """Store a new key, and return its secret, which is stored nowhere.

        None: the key has a public key instead. Raises `InvalidRequest` for a name that is invalid
        or taken, `DatabaseUnavailable`.
        """
        check_name(key.name)
        secret = None if key.public_key else make_secret()
        parameters = {
            "name": key.name,
            "digest": digest_of(secret) if secret else _digest_of_signer(key),
            "scopes": array_literal(key.scopes),
            "path_prefixes": array_literal(key.path_prefixes),
            "rate_limit_per_minute": key.rate_limit_per_minute,
            "poll_limit_per_minute": key.poll_limit_per_minute,
            "expires_at": key.expires_at,
            "public_key": key.public_key,
        }
        async with self._database.session() as session:
            if not await session.fetch_one(self._queries["create"], parameters):
                raise InvalidRequest(
                    f'There is a key "{key.name}" already; names are never given twice'
                )
        return secret

    async def revoke(self, name: str) -> None:
        """Make the key invalid for ever. Raises `KeyNotFound`."""
        await self._change("revoke", name)

    async def disable(self, name: str) -> None:
        """Make the key invalid until `enable`. Raises `KeyNotFound`, also if revoked."""
        await self._change("disable", name)

    async def enable(self, name: str) -> None:
        """Undo `disable`. Raises `KeyNotFound`, also if revoked."""
        await self._change("enable", name)

    async def _change(self, query: str, name: str) -> None:
        missing = KeyNotFound(f'There is no key "{name}" that is not revoked')
        if not name.isprintable():
            # No key has such a name, and the driver refuses some of them.
            raise missing
        async with self._database.session() as session:
            if not await session.fetch_one(self._queries[query], {"name": name}):
                raise missing


def check_name(name: str) -> None:
    """Raise `InvalidRequest` for a name that a key may not have."""
    if not name.strip() or name != name.strip():
        raise InvalidRequest("A key's name must not be empty, nor begin or end with a space")
    if name.startswith(JWT_NAME_PREFIX):
        raise InvalidRequest(
            f"A key's name must not begin with {JWT_NAME_PREFIX}, as tokens' names do"
        )
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidRequest(f"A key's name has at most {MAX_NAME_LENGTH} letters")
    if not name.isprintable():
        raise InvalidRequest("A key's name must be printable, on one line")
    if name != unicodedata.normalize("NFC", name):
        raise InvalidRequest("A key's name must be in Unicode's composed form (NFC)")
    if name.casefold() == DEFAULT_NAME:
        raise InvalidRequest(f'"{DEFAULT_NAME}" is the name of the key in API_GATEWAY_KEY')


def _digest_of_signer(key: NewKey) -> bytes:
    """A unique digest for a key without a secret: no secret has it.

    Raises `InvalidRequest` for a name that cannot be a keyid.
    """
    if not key.name.isascii():
        raise InvalidRequest("The name of a key that signs must be ASCII, as it stands in a header")
    return sha256(b"\0signs as " + key.name.encode() + b"\0" + (key.public_key or b"")).digest()


def _build(row: Any) -> KeyRecord:
    scopes = frozenset(Scope)
    return KeyRecord(
        name=row.name,
        # Newer gateways may have scopes that this one cannot grant.
        scopes=tuple(Scope(it) for it in row.scopes if it in scopes),
        path_prefixes=tuple(row.path_prefixes),
        rate_limit_per_minute=row.rate_limit_per_minute,
        poll_limit_per_minute=row.poll_limit_per_minute,
        expires_at=row.expires_at,
        public_key=bytes(row.public_key) if row.public_key is not None else None,
        digest=bytes(row.digest),
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        revoked_at=row.revoked_at,
    )
