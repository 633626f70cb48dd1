"""Bearer tokens of an issuer (OAuth 2, OpenID Connect) → `Caller`.

A token is a signed JSON Web Token, RFC 7519, checked as RFC 8725 and RFC 9068 advise: by pinned
algorithms, with the key that it names, for its issuer, audience and time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from gateway.auth.callers import JWT_NAME_PREFIX, Caller, Grants, Scope
from gateway.auth.jwks import UNNAMED, JWKSet
from gateway.errors import InvalidToken, Unavailable

MAX_TOKEN_LENGTH: Final = 16 * 1024
MAX_NAME_LENGTH: Final = 200

UNREADABLE: Final = "This is no token that could be read"
# The first class that matches decides. No sentence says what was expected.
SENTENCES: Final[Sequence[tuple[type[Exception], str]]] = (
    (jwt.ExpiredSignatureError, "The token has expired"),
    (jwt.ImmatureSignatureError, "The token is not valid yet"),
    (jwt.InvalidAudienceError, "The token is for another audience"),
    (jwt.InvalidIssuerError, "The token is of another issuer"),
    (jwt.InvalidSignatureError, "The token's signature is not that of its issuer"),
    (jwt.MissingRequiredClaimError, "The token lacks a claim: it needs iss, aud and exp"),
)
# The library lets through Python's errors for odd numbers and deep nesting.
FAULTS: Final = (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Requirements for a token. ``leeway`` in seconds; ``scope_prefix`` is removed from scopes."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    leeway: float = 30.0
    scope_claim: str = "scope"
    scope_prefix: str = ""
    name_claim: str = "sub"


class Tokens:
    """Checks tokens. ``clock`` gives seconds of the Unix clock."""

    def __init__(
        self, rules: TokenRules, keys: JWKSet, clock: Callable[[], float] = time.time
    ) -> None:
        self._rules = rules
        self._keys = keys
        self._clock = clock

    async def authenticate(self, token: str, address: str) -> Caller:
        """The token's caller.

        Raises `InvalidToken`, or `Unavailable` before the issuer's keys are loaded.
        """
        algorithm, key_id = self._read_header(token)
        if not self._keys.are_known:
            raise Unavailable("The keys of the tokens' issuer are not known yet")
        if self._keys.find(key_id, algorithm) is None:
            await self._keys.refresh()
        key = self._keys.find(key_id, algorithm)
        if key is None:
            raise InvalidToken("The token is signed with a key that its issuer does not show")
        return self._caller(self._verify(token, key, algorithm), address)

    def _read_header(self, token: str) -> tuple[str, str]:
        """The algorithm and the key's id, which are still untrusted input."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidToken(UNREADABLE)
        try:
            header = jwt.get_unverified_header(token)
        except FAULTS:
            raise InvalidToken(UNREADABLE) from None
        algorithm, key_id = header.get("alg"), header.get("kid", UNNAMED)
        if not isinstance(algorithm, str) or algorithm not in self._rules.algorithms:
            raise InvalidToken("The token is signed in a way that is not accepted")
        return algorithm, key_id

    def _verify(self, token: str, key: Any, algorithm: str) -> Mapping[str, Any]:
        rules = self._rules
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=rules.audience,
                issuer=rules.issuer,
                leeway=rules.leeway,
                options={"require": ["exp", "iss", "aud"]},
            )
        except FAULTS as error:
            found = (sentence for kind, sentence in SENTENCES if isinstance(error, kind))
            raise InvalidToken(next(found, UNREADABLE)) from None
        return claims

    def _caller(self, claims: Mapping[str, Any], address: str) -> Caller:
        name = claims.get(self._rules.name_claim)
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise InvalidToken("The token does not name its holder")
        if len(name) > MAX_NAME_LENGTH:
            raise InvalidToken(f"The name of the token's holder has over {MAX_NAME_LENGTH} letters")
        try:
            expires_at = float(claims["exp"]) + self._rules.leeway
        except FAULTS:
            raise InvalidToken(UNREADABLE) from None
        return Caller(JWT_NAME_PREFIX + name, address, Grants(self._scopes(claims)), expires_at)

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[Scope]:
        """The gateway's scopes in the claim, which may have those of other services."""
        claim, prefix = claims.get(self._rules.scope_claim), self._rules.scope_prefix
        granted = claim.split() if isinstance(claim, str) else claim
        if not isinstance(granted, list):
            return frozenset()
        ours = {one.removeprefix(prefix) for one in granted if _begins(one, prefix)}
        return frozenset(scope for scope in Scope if scope.value in ours)


def _begins(text: object, prefix: str) -> bool:
    return isinstance(text, str) and text.startswith(prefix)
