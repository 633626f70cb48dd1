"""The public keys with which an issuer's tokens are checked: a JSON Web Key Set, RFC 7517."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.errors import GatewayError

# Whoever sends tokens with invented keys must not make us ask the issuer more often, in seconds.
REST_SECONDS: Final = 10.0
# What a request waits for the keys to be fetched, in seconds.
WAIT_SECONDS: Final = 5.0
KEYS_LIMIT: Final = 100
MIN_RSA_BITS: Final = 2048
# The parts of a key that are public, by RFC 7518: a private one that is published stays unused.
PUBLIC_PARTS: Final = ("kty", "crv", "x", "y", "n", "e")
# The key of a token that names none, if the issuer has only one that fits.
UNNAMED: Final = ""

Fitting = Mapping[tuple[str, str], Any]


class InvalidKeySet(GatewayError):
    """What the issuer publishes, or what stands in the file, is no set of keys that we can use."""


class JWKSet:
    """The keys that are known now, by id and algorithm; `load` replaces them all.

    A monitor fetches them: at the start, now and then, and whenever ``wanted`` is set. To be used
    in one thread.
    """

    def __init__(
        self, algorithms: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.wanted = asyncio.Event()
        self._algorithms = algorithms
        self._clock = clock
        self._fitting: Fitting | None = None
        self._tried_at = -REST_SECONDS
        self._waiting: asyncio.Future[None] | None = None

    @property
    def are_known(self) -> bool:
        """Whether there was ever a set of keys."""
        return self._fitting is not None

    def load(self, text: bytes) -> int:
        """Let these keys hold, and no others; gives how many can be used.

        Raises `InvalidKeySet`, and keeps the last ones, if there is none among them.
        """
        fitting = dict(self._read(text))
        if not fitting:
            raise InvalidKeySet("There is no key among them for a signature that is accepted")
        for algorithm in {algorithm for _, algorithm in fitting}:
            ids = [key_id for key_id, other in fitting if other == algorithm]
            if len(ids) == 1:
                fitting.setdefault((UNNAMED, algorithm), fitting[ids[0], algorithm])
        self._fitting = fitting
        return len({key_id for key_id, _ in fitting if key_id != UNNAMED} or {UNNAMED})

    def find(self, key_id: str, algorithm: str) -> Any | None:
        """The public key with this id, if it is for that algorithm."""
        return (self._fitting or {}).get((key_id, algorithm))

    async def refresh(self) -> None:
        """Have the keys fetched again, unless that was tried just now, and wait until it is done.

        However many ask at once, there is one fetch.
        """
        if self._waiting is None:
            if self._clock() - self._tried_at < REST_SECONDS:
                return
            self._waiting = asyncio.get_running_loop().create_future()
            self.wanted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                await asyncio.shield(self._waiting)

    def note_try(self) -> None:
        """Say that they were fetched, or that it was tried."""
        self._tried_at = self._clock()
        self.wanted.clear()
        if self._waiting is not None:
            self._waiting.set_result(None)
            self._waiting = None

    def _read(self, text: bytes) -> Iterator[tuple[tuple[str, str], Any]]:
        try:
            keys = orjson.loads(text)["keys"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise InvalidKeySet("This is no JSON Web Key Set") from None
        if not isinstance(keys, list) or len(keys) > KEYS_LIMIT:
            raise InvalidKeySet(f"A key set is a list of at most {KEYS_LIMIT} keys")
        for key in keys:
            if isinstance(key, dict) and _is_for_signatures(key):
                key_id = key.get("kid", UNNAMED)
                for algorithm in _algorithms_of(key):
                    public = _public_key(key, algorithm)
                    if algorithm in self._algorithms and public and isinstance(key_id, str):
                        yield (key_id, algorithm), public


def _is_for_signatures(key: Mapping[str, Any]) -> bool:
    operations = key.get("key_ops", ["verify"])
    return (
        key.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    )


def _algorithms_of(key: Mapping[str, Any]) -> Collection[str]:
    """What a key may verify: by its kind, and, where it says so, only the one that it names."""
    kind, curve = key.get("kty"), key.get("crv")
    fitting: Collection[str] = {
        ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        ("EC", "P-256"): ("ES256",),
        ("EC", "P-384"): ("ES384",),
        ("EC", "P-521"): ("ES512",),
        ("OKP", "Ed25519"): ("EdDSA",),
    }.get((str(kind), str(curve) if curve is not None else None), ())
    named = key.get("alg")
    # RFC 9864 calls EdDSA by the name of its curve.
    named = "EdDSA" if named == "Ed25519" else named
    return fitting if named is None else [one for one in fitting if one == named]


def _public_key(key: Mapping[str, Any], algorithm: str) -> Any | None:
    """The key itself; None if it is broken, or too short to be safe."""
    try:
        public = jwt.PyJWK({part: key[part] for part in PUBLIC_PARTS if part in key}, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        return None
    is_short = isinstance(public, RSAPublicKey) and public.key_size < MIN_RSA_BITS
    return None if is_short else public
