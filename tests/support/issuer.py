"""An issuer of tokens, as a process of its own: it shows its public keys and signs what it is told.

    python tests/support/issuer.py

The first line that it prints is its port.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa


class Issuer:
    """Keys by their ids; those in ``shown`` are published. ``answer`` is said instead, if set.

    ``description`` stands in for what the issuer says of itself.
    """

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {
            "rsa": rsa.generate_private_key(65537, 2048),
            "short": rsa.generate_private_key(65537, 1024),
            "ec": ec.generate_private_key(ec.SECP256R1()),
            "ed": ed25519.Ed25519PrivateKey.generate(),
            "next": ed25519.Ed25519PrivateKey.generate(),
            "never": ed25519.Ed25519PrivateKey.generate(),
        }
        self.shown = ["rsa", "short", "ec", "ed"]
        self.answer: tuple[int, str] | None = None
        self.description: tuple[int, str] | None = None
        self.times_asked = 0
        self.times_described = 0

    def key_set(self) -> dict[str, Any]:
        return {"keys": [self.public(name) for name in self.shown]}

    def public(self, name: str) -> dict[str, Any]:
        public = self.keys[name].public_key()
        kind = {"rsa": "RS256", "short": "RS256", "ec": "ES256"}.get(name, "EdDSA")
        algorithm = jwt.get_algorithm_by_name(kind)
        return {"kid": name, "use": "sig", **json.loads(algorithm.to_jwk(public))}

    async def jwks(self, _request: web.Request) -> web.Response:
        self.times_asked += 1
        if self.answer is not None:
            return web.Response(status=self.answer[0], text=self.answer[1])
        return web.json_response(self.key_set())

    async def metadata(self, request: web.Request) -> web.Response:
        self.times_described += 1
        if self.description is not None:
            status, text = self.description
            return web.Response(status=status, text=text, headers={"Location": "/jwks"})
        url = f"http://{request.host}"
        return web.json_response({"issuer": url, "jwks_uri": f"{url}/jwks"})

    async def sign(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        token = jwt.encode(
            wanted["claims"],
            self.keys.get(wanted["key"], wanted["key"]),
            wanted["algorithm"],
            wanted["header"],
        )
        return web.Response(text=token)

    async def change(self, request: web.Request) -> web.Response:
        """Show other keys, or answer otherwise; says how often it was asked so far."""
        wanted = await request.json()
        self.shown = wanted.get("shown", self.shown)
        if "answer" in wanted:
            self.answer = tuple(wanted["answer"]) if wanted["answer"] else None
        if "description" in wanted:
            self.description = tuple(wanted["description"]) if wanted["description"] else None
        times = {"timesAsked": self.times_asked, "timesDescribed": self.times_described}
        return web.json_response({**times, "keys": self.key_set()})


async def main() -> None:
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/jwks", issuer.jwks)
    app.router.add_get("/other", issuer.jwks)
    app.router.add_get("/.well-known/openid-configuration", issuer.metadata)
    app.router.add_post("/sign", issuer.sign)
    app.router.add_post("/change", issuer.change)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    # It ends with whoever has started it.
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
