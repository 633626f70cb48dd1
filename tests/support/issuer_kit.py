"""An issuer of tokens that runs beside the tests, and what a gateway has to be told of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ISSUER = "https://issuer.example"
AUDIENCE = "teamcache"
EVERY_SCOPE = "jobs:read jobs:write metrics:read"


class RunningIssuer:
    """Speaks to the process of ``issuer.py``."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.settings = {
            "jwt_issuer": ISSUER,
            "jwt_audience": AUDIENCE,
            "jwt_jwks_url": f"{self.url}/jwks",
        }

    def token(
        self, key: str = "rsa", algorithm: str = "RS256", header: Any = None, **claims: Any
    ) -> str:
        """A token that is right but for what is given; a claim that is None is left out."""
        right = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "scope": EVERY_SCOPE}
        right |= {"exp": time.time() + 600} | claims
        wanted = {
            "claims": {name: value for name, value in right.items() if value is not None},
            "key": key,
            "algorithm": algorithm,
            "header": {"kid": key} if header is None else header,
        }
        return self._post("/sign", wanted).decode()

    def show(self, *keys: str) -> None:
        self._post("/change", {"shown": keys})

    def answer(self, status: int, text: str) -> None:
        """Answer so instead of showing keys."""
        self._post("/change", {"answer": [status, text]})

    def describe(self, status: int, text: str) -> None:
        """Say this of itself."""
        self._post("/change", {"description": [status, text]})

    def describe_again(self) -> None:
        self._post("/change", {"description": None})

    def answer_again(self) -> None:
        self._post("/change", {"answer": None})

    @property
    def times_asked(self) -> int:
        return json.loads(self._post("/change", {}))["timesAsked"]

    @property
    def times_described(self) -> int:
        return json.loads(self._post("/change", {}))["timesDescribed"]

    @property
    def key_set(self) -> dict[str, Any]:
        return json.loads(self._post("/change", {}))["keys"]

    def _post(self, path: str, body: Any) -> bytes:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()


@contextmanager
def running_issuer() -> Iterator[RunningIssuer]:
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("issuer.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout
        yield RunningIssuer(int(process.stdout.readline()))
        process.kill()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
