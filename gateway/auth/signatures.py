"""Signatures of requests: HTTP Message Signatures, RFC 9421, with Ed25519 keys.

The library parses and verifies; this module has the rules for a signature's parameters and
coverage. The body is covered by its Content-Digest, RFC 9530.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cryptography import exceptions as cryptography
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import (
    ContentDigest,
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
)
from http_message_signatures.algorithms import ED25519

from gateway.auth.api_keys import ApiKeys, StoredKey
from gateway.errors import InvalidSignature

# Behind a proxy that terminates TLS the scheme may be lost, so it need not be covered; the whole
# URI may be.
TARGET_PARTS: Final = ("@authority", "@path", "@query")
TARGET: Final = "@target-uri"
DIGEST: Final = "content-digest"
PARAMETERS: Final = ("created", "keyid", "nonce", "alg")
MAX_NONCE_LENGTH: Final = 128
MAX_FIELDS_LENGTH: Final = 4096
MAX_SECONDS_AHEAD: Final = 60.0
"""Seconds that a client's clock may be ahead, or the window if that is shorter."""

ACCEPT_SIGNATURE: Final = (
    '("@method" "@authority" "@path" "@query" "content-digest");created;alg="ed25519"'
)
"""The value of Accept-Signature, without its label."""

UNREADABLE: Final = "A request bears one signature, in Signature-Input and Signature (RFC 9421)"
FAULTS: Final = (
    HTTPMessageSignaturesException,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
)


class Fields(Protocol):
    """Header fields; a name may occur several times."""

    def get(self, name: str, /) -> str | None:
        """The first field of this name."""

    def items(self) -> Any:
        """All fields in order, as pairs of name and value."""


@dataclass(frozen=True, slots=True)
class Message:
    """The parts of a request that can be signed. ``url`` is the full one that the client used."""

    method: str
    url: str
    headers: Fields


@dataclass(frozen=True, slots=True)
class Signature:
    """A verified signature, valid until ``end`` in Unix seconds.

    ``digest`` is the Content-Digest of the body; None: there is no body.
    """

    key: StoredKey
    nonce: str
    end: float
    digest: str | None


class Signatures:
    """Verifies signatures. ``window``: seconds that one is valid; ``clock``: Unix seconds."""

    def __init__(
        self, keys: ApiKeys, window: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._window = window
        self._clock = clock

    @property
    def now(self) -> float:
        """The current time of the clock."""
        return self._clock()

    def verify(self, message: Message, *, has_body: bool) -> Signature:
        """The one signature of the message.

        Raises `InvalidSignature` with the reason, and `Starting` before keys are loaded.
        """
        fields = (message.headers.get("Signature-Input"), message.headers.get("Signature"))
        if None in fields or len("".join(map(str, fields))) > MAX_FIELDS_LENGTH:
            raise InvalidSignature(UNREADABLE)
        needs_digest = has_body or message.headers.get(DIGEST) is not None
        check = _Check(self._keys, self._window, self._clock(), needs_digest)
        try:
            [result] = check.verify(message, max_age=None)
        except FAULTS as error:
            raise InvalidSignature(_sentence(error, check.is_read)) from None
        created, nonce = result.parameters["created"], str(result.parameters["nonce"])
        digest = result.covered_components.get(f'"{DIGEST}"')
        signer = self._keys.find_signer(str(result.parameters["keyid"]))
        return Signature(signer, nonce, float(created) + self._window, digest)


def check_digest(digest: str, body: bytes) -> None:
    """Raise `InvalidSignature` unless the body has this Content-Digest, by SHA-256 or SHA-512."""
    try:
        ContentDigest.verify(digest, body)
    except FAULTS:
        raise InvalidSignature(
            "The body is not what Content-Digest says, in sha-256 or sha-512"
        ) from None


class _Keys(HTTPSignatureKeyResolver):
    """The API keys as the library's resolver."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self._keys.find_signer(key_id).public_key or b"")


class _Check(HTTPMessageVerifier):
    """Verifies one message by the library's rules and those of this module."""

    def __init__(self, keys: ApiKeys, window: float, now: float, needs_digest: bool) -> None:
        super().__init__(signature_algorithm=ED25519, key_resolver=_Keys(keys))
        self._keys = keys
        self._window = window
        self._now = now
        self._needs_digest = needs_digest
        self.is_read = False

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """Check parameters, coverage and time; the library calls this before it verifies."""
        self.is_read = True
        parameters: Mapping[str, Any] = sig_input.params
        _check_parameters(parameters)
        # A component with parameters is another one: part of a field, or of another message.
        covered = {item.value for item in sig_input if not item.params}
        _check_coverage(covered, self._needs_digest)
        self._check_time(parameters["created"], parameters.get("expires"))
        # Raised here, as the library wraps the errors of its key resolver.
        self._keys.find_signer(parameters["keyid"])

    def _check_time(self, created: int, expires: int | None) -> None:
        age = self._now - created
        if age >= self._window:
            raise InvalidSignature(
                f"The signature is {age:.0f} s old by this gateway's clock, and good for"
                f" {self._window:g} s"
            )
        if -age > min(self._window, MAX_SECONDS_AHEAD):
            raise InvalidSignature(
                f"The signature is of {-age:.0f} s from now by this gateway's clock"
            )
        if expires is not None and expires <= self._now:
            raise InvalidSignature("The signature has expired")


def _check_parameters(parameters: Mapping[str, Any]) -> None:
    if missing := [name for name in PARAMETERS if name not in parameters]:
        raise InvalidSignature(f"The signature lacks {_listed(missing)}")
    if parameters["alg"] != ED25519.algorithm_id:
        raise InvalidSignature('The signature is made in another way than alg="ed25519"')
    if not 1 <= len(parameters["nonce"]) <= MAX_NONCE_LENGTH:
        raise InvalidSignature(f"A signature's nonce has 1 to {MAX_NONCE_LENGTH} letters")


def _check_coverage(covered: Collection[str], needs_digest: bool) -> None:
    required = ["@method", *(() if TARGET in covered else TARGET_PARTS)]
    if needs_digest:
        required.append(DIGEST)
    if missing := [name for name in required if name not in covered]:
        raise InvalidSignature(f"The signature does not cover {_listed(missing)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _sentence(error: Exception, is_read: bool) -> str:
    """The reason, without any of the untrusted input."""
    if not is_read:
        return UNREADABLE
    if isinstance(error.__cause__, cryptography.InvalidSignature):
        return "The signature is not that of its key for this request"
    return "The signature covers something that cannot be found in this request"
