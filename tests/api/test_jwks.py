"""The issuer's public keys: fetched, renewed, kept during outages, not fetched too often."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.free_ports import free_port
from gateway.auth.jwks import REST_SECONDS, InvalidKeySet, JWKSet
from gateway.auth.tokens import TokenRules, Tokens
from gateway.errors import InvalidToken, SettingsError, Unavailable
from gateway.http import app_keys
from gateway.monitors import jwks as monitors
from gateway.monitors.jwks import KeySetFileMonitor, KeySetUrlMonitor, SigningKeysMonitor
from gateway.monitors.loop import running
from gateway.settings import Settings
from support.database import StartApi
from support.issuer_kit import RunningIssuer, bearer, running_issuer

JOBS = "/api/v1/cache/jobs"
PATIENCE = 30.0
ALGORITHMS = ("RS256", "ES256", "EdDSA")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Verifier:
    """Verifies tokens with keys from the issuer's URL, on a manual clock."""

    def __init__(self, issuer: RunningIssuer) -> None:
        self.clock = Clock()
        self.keys = JWKSet(ALGORITHMS, self.clock)
        settings = issuer.settings
        self.monitor = KeySetUrlMonitor(self.keys, settings["jwt_jwks_url"])
        rules = TokenRules(settings["jwt_issuer"], settings["jwt_audience"], ALGORITHMS)
        self.tokens = Tokens(rules, self.keys)

    async def name_in(self, token: str) -> str:
        async with asyncio.timeout(PATIENCE):
            return (await self.tokens.authenticate(token, "")).key_name

    def later(self) -> None:
        self.clock.now += REST_SECONDS


@pytest.fixture
def issuer() -> Iterator[RunningIssuer]:
    with running_issuer() as started:
        yield started


@pytest.fixture
async def verifier(issuer: RunningIssuer) -> AsyncIterator[Verifier]:
    made = Verifier(issuer)
    await made.monitor.check_once()
    async with running(made.monitor):
        yield made


async def test_a_new_key_is_fetched_as_soon_as_a_token_names_it(
    verifier: Verifier, issuer: RunningIssuer
) -> None:
    token = issuer.token("next", "EdDSA")
    issuer.show("next")
    verifier.later()
    assert await verifier.name_in(token) == "jwt:alice"
    with pytest.raises(InvalidToken, match="does not show"):
        await verifier.name_in(issuer.token())  # the old key is gone


async def test_many_tokens_with_a_new_key_make_one_fetch(
    verifier: Verifier, issuer: RunningIssuer
) -> None:
    token = issuer.token("next", "EdDSA")
    issuer.show("next", "rsa")
    verifier.later()
    before = issuer.times_asked
    names = await asyncio.gather(*(verifier.name_in(token) for _ in range(100)))
    assert set(names) == {"jwt:alice"}
    assert issuer.times_asked == before + 1


async def test_unknown_key_ids_do_not_cause_repeated_fetches(
    verifier: Verifier, issuer: RunningIssuer
) -> None:
    verifier.later()
    before = issuer.times_asked
    for number in range(20):
        with pytest.raises(InvalidToken, match="does not show"):
            await verifier.name_in(issuer.token("never", "EdDSA", {"kid": f"invented-{number}"}))
    assert issuer.times_asked == before + 1


async def test_an_invalid_token_causes_no_fetch(verifier: Verifier, issuer: RunningIssuer) -> None:
    verifier.later()
    before = issuer.times_asked
    for token in ("rubbish", issuer.token("rsa", "PS256", {"kid": "new"})):
        with pytest.raises(InvalidToken):
            await verifier.name_in(token)
    assert issuer.times_asked == before


AWAY = {
    "an error": (500, "no keys today"),
    "a page": (200, "<html>"),
    "another document": (200, '{"issuer": "x"}'),
    "a list": (200, "[]"),
    "no keys": (200, '{"keys": []}'),
    "keys that are none": (200, '{"keys": [1, null, {}, {"kty": "EC"}, {"kty": ["RSA"]}]}'),
    "keys for encryption": (
        200,
        '{"keys": [{"kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQ"}]}',
    ),
    "a shared secret": (200, '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "rsa"}]}'),
    "too many keys": (200, json.dumps({"keys": [{}] * 101})),
    "too much": (200, '{"keys": [' + " " * 600_000 + "]}"),
    "a redirect": (302, ""),
}


@pytest.mark.parametrize(("status", "text"), AWAY.values(), ids=AWAY)
async def test_invalid_responses_keep_the_last_keys(
    verifier: Verifier, issuer: RunningIssuer, status: int, text: str
) -> None:
    token = issuer.token()
    issuer.answer(status, text)
    with pytest.raises((Unavailable, InvalidKeySet)):
        await verifier.monitor.check_once()
    assert await verifier.name_in(token) == "jwt:alice"
    assert verifier.monitor.interval == REST_SECONDS  # and it is retried soon
    issuer.answer_again()
    await verifier.monitor.check_once()
    assert verifier.monitor.interval == monitors.URL_SECONDS


async def test_an_unavailable_issuer_is_logged_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitors, "FETCH_SECONDS", 0.05)
    silent = await asyncio.start_server(lambda *_: asyncio.sleep(PATIENCE), "127.0.0.1", 0)
    for port in (free_port(), silent.sockets[0].getsockname()[1]):
        monitor = KeySetUrlMonitor(JWKSet(ALGORITHMS), f"http://127.0.0.1:{port}/jwks")
        with pytest.raises(Unavailable, match=r"cannot be asked for keys: \w") as raised:
            await monitor.check_once()
        assert "\n" not in raised.value.message
    silent.close()


async def test_before_the_keys_are_known_clients_are_asked_to_retry(
    start_shared_api: StartApi, issuer: RunningIssuer
) -> None:
    port = free_port()
    changes = issuer.settings | {"jwt_jwks_url": f"http://127.0.0.1:{port}/jwks"}
    client = await start_shared_api(**changes)
    client.session.headers.pop("X-API-Key")
    response = await client.get(JOBS, headers=bearer(issuer.token()))
    assert (response.status, response.headers["Retry-After"]) == (503, "5")
    # Tokens that no key could make valid are refused at once, and API keys do not wait.
    assert (await client.get(JOBS, headers=bearer("rubbish"))).status == 401
    key = {"X-API-Key": "demo-api-key-2024"}
    assert (await client.get(JOBS, headers=key)).status == 200
    async with client.ws_connect("/ws") as socket:
        await socket.receive_json()
        await socket.send_json({"type": "auth", "token": issuer.token()})
        assert (await socket.receive_json())["retryAfter"] == 5


async def test_valid_keys_in_a_file_are_loaded(
    start_shared_api: StartApi,
    issuer: RunningIssuer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(KeySetFileMonitor, "interval", 0.01)
    caplog.set_level(logging.INFO)
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(issuer.key_set))
    changes = issuer.settings | {"jwt_jwks_url": "", "jwt_jwks_file": str(file)}
    client = await start_shared_api(**changes)
    client.session.headers.pop("X-API-Key")
    first, second = issuer.token(), issuer.token("next", "EdDSA")
    await become(client, first, 200)
    file.write_text("{")
    async with asyncio.timeout(PATIENCE):
        while "the last ones stay in use" not in caplog.text:
            await asyncio.sleep(0.01)
    await become(client, first, 200)
    issuer.show("next")
    file.write_text(json.dumps(issuer.key_set))
    await become(client, second, 200)
    await become(client, first, 401)


async def become(client: Any, token: str, status: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await client.get(JOBS, headers=bearer(token))).status != status:
            client.app[app_keys.JWKS].wanted.set()
            await asyncio.sleep(0.01)


async def test_a_missing_key_file_is_logged(tmp_path: Path) -> None:
    monitor = KeySetFileMonitor(JWKSet(ALGORITHMS), str(tmp_path / "none.json"))
    with pytest.raises(Unavailable, match=r"cannot be read from .*none\.json"):
        await monitor.check_once()


def test_a_single_key_without_id_verifies_tokens_without_id(issuer: RunningIssuer) -> None:
    only = JWKSet(ALGORITHMS)
    [rsa] = [key for key in issuer.key_set["keys"] if key["kid"] == "rsa"]
    assert only.load(json.dumps({"keys": [rsa]}).encode()) == 1
    assert only.find("", "RS256") is not None
    assert only.find("", "EdDSA") is None
    del rsa["kid"]
    assert only.load(json.dumps({"keys": [rsa]}).encode()) == 1
    assert only.find("", "RS256") is not None
    assert only.find("rsa", "RS256") is None


def test_with_two_keys_tokens_without_id_are_refused(issuer: RunningIssuer) -> None:
    issuer.show("ed", "next", "rsa")
    two = JWKSet(ALGORITHMS)
    assert two.load(json.dumps(issuer.key_set).encode()) == 3
    assert two.find("", "EdDSA") is None
    assert two.find("", "RS256") is not None


@pytest.mark.parametrize(
    ("change", "usable"),
    [
        ({}, True),
        ({"use": None}, False),
        ({"use": "enc"}, False),
        ({"key_ops": ["verify"]}, True),
        ({"key_ops": ["encrypt"]}, False),
        ({"key_ops": "verify"}, False),
        ({"alg": "RS256"}, True),
        ({"alg": "RS512"}, False),
        ({"alg": "HS256"}, False),
        ({"kty": "oct"}, False),
        ({"kty": "EC"}, False),
        ({"n": "AQAB"}, False),
        ({"n": 5}, False),
        ({"e": "%%"}, False),
        ({"kid": 5}, False),
        ({"d": "c2VjcmV0"}, True),  # the private part is ignored
    ],
)
def test_only_keys_for_accepted_algorithms_are_loaded(
    issuer: RunningIssuer, change: dict[str, Any], usable: bool
) -> None:
    [rsa] = [key for key in issuer.key_set["keys"] if key["kid"] == "rsa"]
    text = json.dumps({"keys": [rsa | change]}).encode()
    taken = JWKSet(ALGORITHMS)
    if usable:
        assert taken.load(text) == 1
        return
    with pytest.raises(InvalidKeySet):
        taken.load(text)
    assert not taken.are_known


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://issuer.example/jwks", True),
        ("https://issuer.example/jwks", False),
        ("http://localhost:8080/jwks", False),
        ("http://[::1]:8080/jwks", False),
    ],
)
def test_a_key_url_without_tls_is_warned_of(
    caplog: pytest.LogCaptureFixture, url: str, warned: bool
) -> None:
    made = monitors.signing_keys_monitor(JWKSet(()), "https://issuer.example", url, "")
    assert isinstance(made, SigningKeysMonitor)
    assert ("can forge tokens" in caplog.text) is warned


PLACE = {"jwt_jwks_url": "https://issuer.example/jwks"}
BOTH = {"jwt_issuer": "i", "jwt_audience": "a"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (BOTH, "it is no https URL"),
        (BOTH | {"jwt_issuer": "http://issuer.example"}, "it is no https URL"),
        (BOTH | {"jwt_issuer": "https://issuer.example?tenant=1"}, "it is no https URL"),
        (BOTH | {"jwt_issuer": "https://[issuer"}, "it is no https URL"),
        (BOTH | PLACE | {"jwt_jwks_file": "/x"}, "jwt_issuer needs one of"),
        (PLACE, "jwt_issuer needs one of"),
        ({"jwt_issuer": "i"} | PLACE, "jwt_issuer and jwt_audience must be given together"),
        ({"jwt_audience": "a"}, "jwt_issuer and jwt_audience must be given together"),
        (BOTH | {"jwt_jwks_url": "issuer.example"}, "must be a URL"),
        (BOTH | {"jwt_jwks_url": "file:///etc/passwd"}, "must be a URL"),
        (BOTH | PLACE | {"jwt_algorithms": "HS256"}, "--jwt-algorithms"),
        (BOTH | PLACE | {"jwt_algorithms": "RS256, none"}, "--jwt-algorithms"),
        (BOTH | PLACE | {"jwt_algorithms": ""}, "--jwt-algorithms"),
    ],
)
def test_settings_that_cannot_verify_tokens_prevent_the_start(
    given: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        Settings.load(overrides=given, environ={})
