"""Requests that are signed in place of showing an API key: RFC 9421, with an Ed25519 key.

::

    key = SigningKey.load("farm.key", key_id="render-farm")
    async with GatewayClient("http://localhost:8095", signing_key=key) as client:
        ...
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import aiohttp
from aiohttp.payload import Payload
from multidict import CIMultiDict

from gateway.client.errors import GatewayClientError

if TYPE_CHECKING:
    # Who shows an API key need not wait for these.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NONCE_BYTES: Final = 16
LABEL: Final = "sig"
COVERED: Final = ("@method", "@authority", "@path", "@query")
# Covered where they are there: what would change what a request means.
MEANINGFUL: Final = ("content-type", "idempotency-key")
MAX_FILE_BYTES: Final = 64 * 1024
OPENSSH: Final = b"-----BEGIN OPENSSH "


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private Ed25519 key, and the name by which the gateway knows the public one."""

    key_id: str
    private_key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def parse(cls, text: bytes, key_id: str) -> Self:
        """Read PEM (PKCS #8) or OpenSSH's form, without a passphrase.

        Raises `GatewayClientError` for what is no such key.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if not (key_id and key_id.isascii() and key_id.isprintable()):
            raise GatewayClientError("A key's id is the name that it was made with, in ASCII")
        key = _load(text.strip())
        if not isinstance(key, Ed25519PrivateKey):
            raise GatewayClientError("Only Ed25519 keys sign requests, and this is another kind")
        return cls(key_id, key)

    @classmethod
    def load(cls, file: str | Path, key_id: str) -> Self:
        """`parse` what the file holds. Raises `GatewayClientError` also if it cannot be read."""
        try:
            with open(file, "rb") as opened:
                text = opened.read(MAX_FILE_BYTES)
        except OSError as error:
            raise GatewayClientError(f"{file} cannot be read: {error.strerror}") from None
        return cls.parse(text, key_id)


def _load(text: bytes) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        load_pem_private_key,
        load_ssh_private_key,
    )

    try:
        if text.startswith(OPENSSH):
            return load_ssh_private_key(text, password=None)
        return load_pem_private_key(text, password=None)
    except TypeError:
        raise GatewayClientError("The private key has a passphrase: use one without") from None
    except (ValueError, UnsupportedAlgorithm):
        raise GatewayClientError("This is no private key in PEM or OpenSSH's form") from None


class RequestSigner:
    """Signs each request of an aiohttp client, with a nonce of its own: also one sent again."""

    def __init__(self, key: SigningKey) -> None:
        from http_message_signatures import (
            HTTPMessageSignaturesException,
            HTTPMessageSigner,
            MappingKeyResolver,
        )
        from http_message_signatures.algorithms import ED25519

        keys = MappingKeyResolver(public_keys={}, private_keys={key.key_id: key.private_key})
        self._signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=keys)
        self._key_id = key.key_id
        self._fault = HTTPMessageSignaturesException

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Sign the request and hand it on. Raises `GatewayClientError` if it cannot be signed."""
        meaningful = [name for name in MEANINGFUL if name in request.headers]
        try:
            self._signer.sign(
                _Message(request.method, str(request.url), request.headers),
                key_id=self._key_id,
                nonce=secrets.token_urlsafe(NONCE_BYTES),
                label=LABEL,
                covered_component_ids=(*COVERED, *meaningful),
                body=await _body_of(request),
            )
        except self._fault as error:
            raise GatewayClientError(f"The request cannot be signed: {error}") from None
        return await handler(request)


class _Message(NamedTuple):
    """What the library looks at; it writes its headers into the request's own."""

    method: str
    url: str
    headers: CIMultiDict[str]


async def _body_of(request: aiohttp.ClientRequest) -> bytes | None:
    """The bytes that are sent; None if there is no body."""
    body = request.body
    return (await body.as_bytes() if isinstance(body, Payload) else bytes(body)) or None
