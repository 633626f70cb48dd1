"""Bearer tokens: a real issuer signs them, and each thing that can be wrong with one is refused."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp.test_utils import TestClient
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.http import app_keys
from support.database import StartApi
from support.issuer_kit import AUDIENCE, ISSUER, RunningIssuer, bearer, running_issuer

JOBS = "/api/v1/cache/jobs"
NOT_READ = "This is no token that could be read"
NOT_ACCEPTED = "The token is signed in a way that is not accepted"
NOT_SHOWN = "The token is signed with a key that its issuer does not show"
NOT_ITS_OWN = "The token's signature is not that of its issuer"
LACKS = "The token lacks a claim: it needs iss, aud and exp"
NOBODY = "The token does not name its holder"

StartWithTokens = Callable[..., Awaitable[TestClient[Any, Any]]]


@pytest.fixture(scope="module")
def issuer() -> Iterator[RunningIssuer]:
    with running_issuer() as running:
        yield running


@pytest.fixture
def start(start_shared_api: StartApi, issuer: RunningIssuer) -> StartWithTokens:
    """Start an API that takes the issuer's tokens and knows its keys; its client shows none."""

    async def start_it(**changes: Any) -> TestClient[Any, Any]:
        client = await start_shared_api(**(issuer.settings | changes))
        client.session.headers.pop("X-API-Key", None)
        await client.app[app_keys.JWKS].refresh()
        return client

    return start_it


async def ask(client: Any, token: str) -> tuple[int, str]:
    """The status of a list with this token, and what the error says."""
    response = await client.get(JOBS, headers=bearer(token))
    return response.status, (await response.json()).get("error", "")


@pytest.mark.parametrize(("key", "algorithm"), [("rsa", "RS256"), ("ec", "ES256"), ("ed", "EdDSA")])
async def test_a_token_of_the_issuer_opens(
    start: StartWithTokens, issuer: RunningIssuer, key: str, algorithm: str
) -> None:
    assert await ask(await start(), issuer.token(key, algorithm)) == (200, "")


def forged(claims: dict[str, Any], header: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def right_claims() -> dict[str, Any]:
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": "mallory", "scope": "admin",
            "exp": time.time() + 600}  # fmt: skip


def unsigned(_issuer: RunningIssuer) -> str:
    return forged(right_claims(), {"alg": "none", "kid": "rsa"})


def unsigned_in_other_letters(_issuer: RunningIssuer) -> str:
    return forged(right_claims(), {"alg": "nOnE", "kid": "rsa"})


def without_an_algorithm(_issuer: RunningIssuer) -> str:
    return forged(right_claims(), {"kid": "rsa"})


def signed_with_the_public_key_as_a_secret(issuer: RunningIssuer) -> str:
    [public] = [key for key in issuer.key_set["keys"] if key["kid"] == "rsa"]
    pem = jwt.PyJWK(public).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    unsigned = forged(right_claims(), {"alg": "HS256", "kid": "rsa"}).rpartition(".")[0]
    signature = hmac.digest(pem, unsigned.encode(), "sha256")
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def altered(issuer: RunningIssuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{forged(right_claims(), {}).split('.')[1]}.{signature}"


def without_its_signature(issuer: RunningIssuer) -> str:
    return issuer.token().rpartition(".")[0] + "."


def bringing_its_own_key(_issuer: RunningIssuer) -> str:
    own = jwt.get_algorithm_by_name("EdDSA")
    private = jwt.PyJWK.from_json(
        '{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",'
        '"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
    ).key
    header = {"kid": "ed", "jwk": json.loads(own.to_jwk(private.public_key()))}
    return jwt.encode(right_claims(), private, "EdDSA", header)


FORGED = {
    unsigned: NOT_ACCEPTED,
    unsigned_in_other_letters: NOT_ACCEPTED,
    without_an_algorithm: NOT_ACCEPTED,
    signed_with_the_public_key_as_a_secret: NOT_ACCEPTED,
    altered: NOT_ITS_OWN,
    without_its_signature: NOT_ITS_OWN,
    bringing_its_own_key: NOT_ITS_OWN,
}


@pytest.mark.parametrize(
    ("forge", "says"), FORGED.items(), ids=[forge.__name__ for forge in FORGED]
)
async def test_a_forged_token_is_refused(
    start: StartWithTokens, issuer: RunningIssuer, forge: Any, says: str
) -> None:
    assert await ask(await start(), forge(issuer)) == (401, says)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": 1_000_000_000}, "The token has expired"),
    "expired before the leeway": ({"exp": time.time() - 31}, "The token has expired"),
    "without an end": ({"exp": None}, LACKS),
    "with an endless end": ({"exp": float("inf")}, NOT_READ),
    "with an end that no clock can show": ({"exp": 10**400}, NOT_READ),
    "with an end that is no number": ({"exp": "soon"}, NOT_READ),
    "not valid yet": ({"nbf": time.time() + 3600}, "The token is not valid yet"),
    "issued in the future": ({"iat": time.time() + 3600}, "The token is not valid yet"),
    "for another audience": ({"aud": "another"}, "The token is for another audience"),
    "for other audiences": ({"aud": ["a", "b"]}, "The token is for another audience"),
    "for no audience": ({"aud": None}, LACKS),
    "of another issuer": ({"iss": "https://evil.example"}, "The token is of another issuer"),
    "of an issuer that only begins so": ({"iss": ISSUER + "/x"}, "The token is of another issuer"),
    "of no issuer": ({"iss": None}, LACKS),
    "of nobody": ({"sub": None}, NOBODY),
    "of an empty name": ({"sub": " "}, NOBODY),
    "of a name with a line's end": ({"sub": "a\nb"}, NOBODY),
    "of a long name": ({"sub": "a" * 201}, "The name of the token's holder has over 200 letters"),
    "of another algorithm of the key": ({"algorithm": "PS256"}, NOT_ACCEPTED),
    "by a key that is not shown": (
        {"key": "never", "algorithm": "EdDSA"},
        NOT_SHOWN,
    ),
    "by a key that is too short": ({"key": "short"}, NOT_SHOWN),
    "by another key than it names": (
        {"key": "never", "algorithm": "EdDSA", "header": {"kid": "ed"}},
        NOT_ITS_OWN,
    ),
    "by a key of another kind": (
        {"key": "ed", "algorithm": "EdDSA", "header": {"kid": "rsa"}},
        NOT_SHOWN,
    ),
    "with a demand": ({"header": {"kid": "rsa", "crit": ["exp"], "exp": 1}}, NOT_READ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "says"), WRONG.values(), ids=WRONG)
async def test_a_token_that_is_wrong_is_refused_with_the_reason(
    start: StartWithTokens, issuer: RunningIssuer, changes: dict[str, Any], says: str
) -> None:
    client = await start()
    response = await client.get(JOBS, headers=bearer(issuer.token(**changes)))
    error = (await response.json())["error"]
    assert response.status == 401
    assert error.startswith(says)
    assert response.headers["WWW-Authenticate"] == (
        f'Bearer realm="teamcache-gateway", error="invalid_token", error_description="{error}"'
    )


RUBBISH = {
    "nothing": "",
    "a word": "word",
    "dots": "..",
    "too many parts": "a.b.c.d.e",
    "no base64": "%%.%%.%%",
    "no JSON": "YWJj.YWJj.YWJj",
    "a list": forged({}, []),  # type: ignore[arg-type]
    "nested": base64.urlsafe_b64encode(b"[" * 4000).decode() + ".e30.e30",
    "an id that is no text": forged({}, {"alg": "RS256", "kid": {"a": 1}}),
    "an algorithm that is no text": forged({}, {"alg": ["RS256"], "kid": "rsa"}),
    "a whole key": "demo-api-key-2024",
}


@pytest.mark.parametrize("token", RUBBISH.values(), ids=RUBBISH)
async def test_what_is_no_token_is_refused(
    start: StartWithTokens, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, says = await ask(await start(), token)
    assert (status, says) in [(401, NOT_READ), (401, NOT_ACCEPTED)]
    assert "Traceback" not in caplog.text


async def test_a_clock_that_is_a_little_off_is_forgiven(
    start: StartWithTokens, issuer: RunningIssuer
) -> None:
    client = await start()
    for claims in ({"exp": time.time() - 5}, {"nbf": time.time() + 20}):
        assert await ask(client, issuer.token(**claims)) == (200, "")


async def test_of_several_audiences_ours_must_be_one(
    start: StartWithTokens, issuer: RunningIssuer
) -> None:
    assert await ask(await start(), issuer.token(aud=["another", AUDIENCE])) == (200, "")


SCOPES: dict[str, tuple[Any, dict[str, str], int]] = {
    "a text": ("openid jobs:read", {}, 200),
    "a list": (["jobs:read", "profile"], {}, 200),
    "admin": ("admin", {}, 200),
    "others": ("openid profile jobs:reader", {}, 403),
    "another of ours": ("jobs:write", {}, 403),
    "none": (None, {}, 403),
    "no text": ({"jobs:read": True}, {}, 403),
    "a list of other things": ([1, None, ["jobs:read"]], {}, 403),
    "with the prefix": ("tc/jobs:read", {"jwt_scope_prefix": "tc/"}, 200),
    "without the prefix": ("jobs:read", {"jwt_scope_prefix": "tc/"}, 403),
}


@pytest.mark.parametrize(("scope", "changes", "status"), SCOPES.values(), ids=SCOPES)
async def test_scopes_of_ours_count_and_no_others(
    start: StartWithTokens,
    issuer: RunningIssuer,
    scope: Any,
    changes: dict[str, str],
    status: int,
) -> None:
    client = await start(**changes)
    response = await client.get(JOBS, headers=bearer(issuer.token(scope=scope)))
    assert response.status == status
    if status == 403:
        assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]
        assert (await response.json())["error"] == 'The token "jwt:alice" lacks the scope jobs:read'


async def test_other_claims_may_hold_scopes_and_name(
    start: StartWithTokens, issuer: RunningIssuer
) -> None:
    client = await start(jwt_scope_claim="scp", jwt_name_claim="client_id")
    assert await ask(client, issuer.token(client_id="renderfarm", scp=["jobs:read"])) == (200, "")
    status, says = await ask(client, issuer.token(client_id="renderfarm", scp=[]))
    assert (status, says) == (403, 'The token "jwt:renderfarm" lacks the scope jobs:read')


async def test_without_a_key_or_token_both_ways_are_named(start: StartWithTokens) -> None:
    client = await start()
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"X-API-Key": "wrong"}):
        response = await client.get(JOBS, headers=headers)
        assert (response.status, response.headers["WWW-Authenticate"]) == (
            401,
            'Bearer realm="teamcache-gateway"',
        )


async def test_a_key_goes_before_a_token(start: StartWithTokens) -> None:
    client = await start()
    headers = {"X-API-Key": "demo-api-key-2024"} | bearer("rubbish")
    assert (await client.get(JOBS, headers=headers)).status == 200


async def test_where_no_tokens_are_taken_the_header_is_somebody_elses(
    start_shared_api: StartApi, issuer: RunningIssuer
) -> None:
    client = await start_shared_api()
    client.session.headers.pop("X-API-Key")
    response = await client.get(JOBS, headers=bearer(issuer.token()))
    assert (response.status, (await response.json())["error"]) == (
        401,
        "Invalid or missing API key",
    )
    assert "WWW-Authenticate" not in response.headers
    async with client.ws_connect("/ws", headers=bearer("rubbish")) as socket:
        await socket.receive_json()
        await socket.send_json({"type": "auth", "token": issuer.token()})
        assert (await socket.receive_json())["error"] == "This gateway takes no tokens"


@pytest.mark.usefixtures("still_clock")
async def test_wrong_tokens_run_out_and_a_right_one_still_passes(
    start: StartWithTokens, issuer: RunningIssuer
) -> None:
    client = await start()
    tried = [(await ask(client, "rubbish"))[0] for _ in range(11)]
    assert tried == [401] * 10 + [429]
    assert await ask(client, issuer.token()) == (200, "")


@pytest.mark.usefixtures("still_clock")
async def test_each_holder_has_a_limit_of_its_own(
    start: StartWithTokens, issuer: RunningIssuer
) -> None:
    client = await start(rate_limit_per_minute=1)
    alice, bob = issuer.token(), issuer.token(sub="bob")
    asked = [(await ask(client, token))[0] for token in (alice, bob, issuer.token(), bob)]
    assert asked == [200, 200, 429, 429]


async def test_the_description_names_both_ways(start: StartWithTokens) -> None:
    document = await (await (await start()).get("/api/v1/openapi.json")).json()
    assert document["components"]["securitySchemes"]["Token"]["scheme"] == "bearer"
    assert {"Token": []} in document["paths"]["/api/v1/cache/jobs"]["post"]["security"]


async def test_a_websocket_takes_a_token_at_the_handshake(
    start: StartWithTokens, issuer: RunningIssuer
) -> None:
    client = await start()
    async with client.ws_connect("/ws", headers=bearer(issuer.token())) as socket:
        await socket.send_json({"type": "subscribe", "channel": "jobs"})
        while (await socket.receive_json())["type"] != "snapshot":
            pass
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws_connect("/ws", headers=bearer("rubbish"))
    assert refused.value.status == 401


async def test_a_websocket_takes_a_token_as_a_message(
    start: StartWithTokens, issuer: RunningIssuer
) -> None:
    client = await start()
    async with client.ws_connect("/ws") as socket:
        await socket.receive_json()
        for message, says in (
            ({"token": "rubbish"}, NOT_READ),
            ({"token": 5}, NOT_READ),
            ({"token": None}, NOT_READ),
            ({"token": "a", "apiKey": "b"}, "auth needs the field apiKey, or token"),
            ({}, "auth needs the field apiKey, or token"),
        ):
            await socket.send_json({"type": "auth"} | message)
            assert (await socket.receive_json())["error"] == says
        await socket.send_json({"type": "auth", "token": issuer.token()})
        assert (await socket.receive_json())["type"] == "authenticated"


async def test_a_websocket_is_closed_when_its_token_expires(
    start: StartWithTokens, issuer: RunningIssuer
) -> None:
    client = await start(jwt_leeway=0)
    async with client.ws_connect("/ws") as socket:
        await socket.receive_json()
        await socket.send_json({"type": "auth", "token": issuer.token(exp=time.time() + 3)})
        assert (await socket.receive_json())["type"] == "authenticated"
        message = await socket.receive(timeout=30)
        assert (message.type, message.data, message.extra) == (
            aiohttp.WSMsgType.CLOSE,
            1008,
            "Token has expired",
        )


async def test_a_later_token_keeps_a_websocket_open(
    start: StartWithTokens, issuer: RunningIssuer
) -> None:
    client = await start(jwt_leeway=0)
    async with client.ws_connect("/ws", headers=bearer(issuer.token(exp=time.time() + 3))) as first:
        await first.receive_json()
        await first.send_json({"type": "auth", "token": issuer.token()})
        assert (await first.receive_json())["type"] == "authenticated"
        short = issuer.token(exp=time.time() + 4)
        async with client.ws_connect("/ws", headers=bearer(short)) as second:
            while (await second.receive(timeout=30)).type is not aiohttp.WSMsgType.CLOSE:
                pass
        # The first one's own token would have expired before.
        await first.send_json({"type": "ping"})
        assert (await first.receive_json())["type"] == "pong"
