"""Callers, their scopes and their grants."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gateway.errors import ScopeMissing


class Scope(StrEnum):
    """A permission of a key or token."""

    JOBS_READ = "jobs:read"
    """See jobs and their files, follow their events, ask what paths mean."""
    JOBS_WRITE = "jobs:write"
    """Submit and cancel jobs."""
    METRICS_READ = "metrics:read"
    """See metrics, which are public unless the settings make them private."""
    ADMIN = "admin"
    """All scopes, and with isolated callers the jobs of all of them."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What a key or token allows.

    ``path_prefixes`` are absolute, without a trailing slash; empty: every path of the gateway. The
    limits are in requests per minute and address; 0: no limit; None: the limit of the settings.
    """

    scopes: frozenset[Scope]
    path_prefixes: tuple[str, ...] = ()
    rate_limit_per_minute: int | None = None
    poll_limit_per_minute: int | None = None


DEFAULT_NAME: Final = "default"
"""The name of the key of the settings."""


JWT_NAME_PREFIX: Final = "jwt:"
"""The prefix of the names of callers with a token; names of keys never have it."""


EVERYTHING: Final = Grants(frozenset(Scope))
"""The grants of the key of the settings."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client: the name of its key or token, its address and its grants.

    Rate limits count per key and address, so that machines with one key do not share a bucket.
    ``expires_at`` is in Unix seconds; None: never. ``credential_digest`` is that of the API key;
    None: authenticated by a token.
    """

    key_name: str
    address: str
    grants: Grants
    expires_at: float | None = None
    credential_digest: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def identity(self) -> tuple[str, Grants]:
        """Name and grants: callers that are equal in both may see the same."""
        return self.key_name, self.grants

    @property
    def rate_limit_key(self) -> tuple[str, str]:
        """The key of its token buckets."""
        return self.key_name, self.address

    def may(self, scope: Scope) -> bool:
        """Whether the caller has the scope; ``admin`` has them all."""
        return scope in self.grants.scopes or Scope.ADMIN in self.grants.scopes

    def require(self, scope: Scope) -> None:
        """Raise `ScopeMissing` unless the caller has the scope."""
        if not self.may(scope):
            credential = "token" if self.credential_digest is None else "API key"
            raise ScopeMissing(f'The {credential} "{self.key_name}" lacks the scope {scope}')
