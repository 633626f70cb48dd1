"""Requests signed by hand: RFC 9421 written out once more, beside the library that checks them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

from gateway.auth.callers import Scope
from gateway.auth.key_store import KeyStore, NewKey
from gateway.database import Database
from gateway.http import app_keys
from gateway.settings import Settings
from support.index_rows import run

USUAL = ("@method", "@authority", "@path", "@query")
NAME = "farm"
Headers = dict[str, str]


def digest_of(body: bytes, algorithm: str = "sha256") -> str:
    value = base64.b64encode(hashlib.new(algorithm, body).digest()).decode()
    return f"{algorithm[:3]}-{algorithm[3:]}=:{value}:"


def signature_base(
    method: str, url: str, headers: Mapping[str, str], covered: Sequence[str], parameters: str
) -> str:
    """What is signed, RFC 9421, section 2.5."""
    parts = urlsplit(url)
    target = f"{parts.scheme}://{parts.netloc}{parts.path or '/'}"
    derived = {
        "@method": method,
        "@authority": parts.netloc.lower(),
        "@path": parts.path or "/",
        "@query": f"?{parts.query}",
        "@target-uri": target + (f"?{parts.query}" if parts.query else ""),
    }
    fields = {name.lower(): value for name, value in headers.items()}
    lines = [f'"{name}": {(derived | fields)[name]}' for name in covered]
    return "\n".join([*lines, f'"@signature-params": {parameters}'])


def inner_list(covered: Sequence[str], parameters: Mapping[str, Any]) -> str:
    names = " ".join(f'"{name}"' for name in covered)
    shown = ((k, v if isinstance(v, int) else f'"{v}"') for k, v in parameters.items())
    return f"({names})" + "".join(f";{name}={value}" for name, value in shown)


class Signer:
    """Somebody with a private key. What is given stands in place of what would be right."""

    def __init__(self, name: str = NAME, private: Ed25519PrivateKey | None = None) -> None:
        self.name = name
        self.private = private or Ed25519PrivateKey.generate()
        self._nonces = itertools.count(1)

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def sign(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        *,
        covered: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        label: str = "sig",
        **parameters: Any,
    ) -> Headers:
        """The headers of a signed request; a parameter that is None is left out."""
        sent = dict(headers or {})
        if body is not None:
            sent = {"Content-Type": "application/json", "Content-Digest": digest_of(body)} | sent
        if covered is None:
            covered = (*USUAL, "content-digest") if body is not None else USUAL
        right = {"created": int(time.time()), "keyid": self.name, "alg": "ed25519"}
        right |= {"nonce": f"n{next(self._nonces)}"} | parameters
        given = inner_list(covered, {k: v for k, v in right.items() if v is not None})
        base = signature_base(method, url, sent, covered, given)
        value = base64.b64encode(self.private.sign(base.encode())).decode()
        return sent | {"Signature-Input": f"{label}={given}", "Signature": f"{label}=:{value}:"}


async def make_signer(
    settings: Settings,
    name: str = NAME,
    scopes: Sequence[Scope] = (Scope.JOBS_READ, Scope.JOBS_WRITE),
    **more: Any,
) -> Signer:
    """Somebody whose public key the database has."""
    signer = Signer(name)
    async with Database(settings) as database:
        await KeyStore(database).create(NewKey(name, scopes, public_key=signer.public, **more))
    return signer


async def known_to(app: web.Application, signer: Signer) -> None:
    """Wait until the gateway has heard of the key."""
    async with asyncio.timeout(30):
        while signer.name not in app[app_keys.API_KEYS]._signers:
            await asyncio.sleep(0.01)


def spent_nonces(settings: Settings) -> list[str]:
    rows = run(settings, "SELECT nonce FROM teamcache_gateway.signature_nonces ORDER BY nonce")
    return [row.nonce for row in rows]


MUTATED = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.text("()\"=:;, \\?@*a0-\0é", max_size=9)),
    min_size=1, max_size=4,
)  # fmt: skip


def mutate(text: str, changes: list[tuple[int, int, str]]) -> str:
    for place, length, new in changes:
        at = place % (len(text) + 1)
        text = text[:at] + new + text[at + length :]
    return text


async def knowing(api: Any, signer: Signer) -> Any:
    """The API without the key that its client shows, once it has heard of the signer."""
    api.session.headers.pop("X-API-Key", None)
    await known_to(api.server.app, signer)
    return api
