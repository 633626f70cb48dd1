"""Who calls, and what it may do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gateway.errors import ScopeMissing


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


@dataclass(frozen=True, slots=True)
class Grants:
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


EVERYTHING: Final = Grants(frozenset(Scope))
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
    grants: Grants
    expires_at: float | None = None
    credential_digest: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def identity(self) -> tuple[str, Grants]:
        """Who may do what: of two that are equal, neither may see more than the other."""
        return self.key_name, self.grants

    @property
    def rate_limit_key(self) -> tuple[str, str]:
        """Whose tokens it draws."""
        return self.key_name, self.address

    def may(self, scope: Scope) -> bool:
        """Whether the caller has the scope; ``admin`` has them all."""
        return scope in self.grants.scopes or Scope.ADMIN in self.grants.scopes

    def require(self, scope: Scope) -> None:
        """Raise `ScopeMissing` unless the caller has the scope."""
        if not self.may(scope):
            what = "token" if self.credential_digest is None else "API key"
            raise ScopeMissing(f'The {what} "{self.key_name}" lacks the scope {scope}')
