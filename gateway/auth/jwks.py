"""The public keys of an issuer's tokens: a JSON Web Key Set, RFC 7517."""

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

# Seconds between fetches: tokens with invented key ids must not cause more of them.
REST_SECONDS: Final = 10.0
# Seconds that a request waits for a fetch.
WAIT_SECONDS: Final = 5.0
KEYS_LIMIT: Final = 100
MIN_RSA_BITS: Final = 2048
# The public parts of a key by RFC 7518: private parts that are published stay unused.
PUBLIC_PARTS: Final = ("kty", "crv", "x", "y", "n", "e")
# The id for tokens without one, if the issuer has a single key for the algorithm.
UNNAMED: Final = ""

Fitting = Mapping[tuple[str, str], Any]


class InvalidKeySet(GatewayError):
    """The document of the issuer, or the file, is not a usable key set."""


class JWKSet:
    """The current keys, by id and algorithm; `load` replaces them all.

    A monitor fetches them at the start, at intervals, and whenever ``wanted`` is set. Not
    thread-safe.
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
        """Whether a key set was loaded."""
        return self._fitting is not None

    def load(self, text: bytes) -> int:
        """Replace the keys; returns the number of usable ones.

        Raises `InvalidKeySet`, and keeps the current ones, if none is usable.
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
        """The public key with this id for that algorithm, if there is one."""
        return (self._fitting or {}).get((key_id, algorithm))

    async def refresh(self) -> None:
        """Have the keys fetched, unless that was tried recently, and wait for it.

        Concurrent calls share one fetch.
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
        """Note that a fetch succeeded or failed."""
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
    """The algorithms of a key: those of its type, or the one in ``alg``."""
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
    """The parsed key; None if it is invalid or too short."""
    try:
        public = jwt.PyJWK({part: key[part] for part in PUBLIC_PARTS if part in key}, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        return None
    is_short = isinstance(public, RSAPublicKey) and public.key_size < MIN_RSA_BITS
    return None if is_short else public
