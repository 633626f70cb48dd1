"""OpenID Connect discovery: the issuer's keys are found from its URL alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from gateway.auth.jwks import REST_SECONDS, InvalidKeySet, JWKSet
from gateway.auth.oidc_discovery import InvalidMetadata, key_set_url, metadata_url
from gateway.errors import GatewayError, Unavailable
from gateway.monitors import jwks as monitors
from gateway.monitors.jwks import DiscoveredKeySetMonitor
from gateway.net.urls import is_discoverable, is_safe_url
from gateway.settings import Settings
from support.database import StartApi
from support.issuer_kit import RunningIssuer, bearer, running_issuer

JOBS = "/api/v1/cache/jobs"
PATIENCE = 30.0
ISSUER = "https://login.example/realms/studio"


@pytest.fixture
def issuer() -> Iterator[RunningIssuer]:
    with running_issuer() as started:
        yield started


@pytest.fixture
def keys() -> JWKSet:
    return JWKSet(("RS256", "EdDSA"))


def watch(keys: JWKSet, issuer: RunningIssuer) -> DiscoveredKeySetMonitor:
    made = monitors.signing_keys_monitor(keys, issuer.url, "", "")
    assert isinstance(made, DiscoveredKeySetMonitor)
    return made


async def test_tokens_are_accepted_with_only_the_issuer_configured(
    start_shared_api: StartApi, issuer: RunningIssuer
) -> None:
    client = await start_shared_api(jwt_issuer=issuer.url, jwt_audience="teamcache")
    client.session.headers.pop("X-API-Key")
    token = issuer.token(iss=issuer.url)
    async with asyncio.timeout(PATIENCE):
        while (response := await client.get(JOBS, headers=bearer(token))).status == 503:
            await asyncio.sleep(0.01)
    assert response.status == 200
    assert (await client.get(JOBS, headers=bearer(issuer.token()))).status == 401


async def test_a_moved_key_set_is_found(issuer: RunningIssuer, keys: JWKSet) -> None:
    monitor = watch(keys, issuer)
    await monitor.check_once()
    issuer.show("next")
    issuer.describe(
        200, json.dumps({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/other", "more": [1]})
    )
    await monitor.check_once()
    assert keys.find("next", "EdDSA") is not None
    assert keys.find("rsa", "RS256") is None
    assert (issuer.times_described, issuer.times_asked) == (2, 2)


def described(issuer: object, jwks_uri: object) -> tuple[int, str]:
    return 200, json.dumps({"issuer": issuer, "jwks_uri": jwks_uri})


# URL is replaced by the issuer's.
WRONG = {
    "not there": (404, ""),
    "an error": (500, "not today"),
    "a redirect to the keys": (302, ""),
    "a page": (200, "<html>"),
    "a list": (200, "[]"),
    "no text": (200, ""),
    "nothing of use": (200, "{}"),
    "too much": (200, '{"issuer": "URL", "jwks_uri": "URL/jwks"' + " " * 600_000 + "}"),
    "another issuer": described("https://other.example", "URL/jwks"),
    "a slash more": described("URL/", "URL/jwks"),
    "no issuer": described(None, "URL/jwks"),
    "no place": described("URL", None),
    "a number": described("URL", 5),
    "a path": described("URL", "/jwks"),
    "a file": described("URL", "file:///etc/passwd"),
    "a place without https": described("URL", "http://issuer.example/jwks"),
    "a place that is none": described("URL", "http://127.0.0.1:99999/jwks"),
    "a closed port": described("URL", "http://127.0.0.1:1/jwks"),
    "a URL without keys": described("URL", "URL/.well-known/openid-configuration"),
}


@pytest.mark.parametrize(("status", "text"), WRONG.values(), ids=WRONG)
async def test_invalid_metadata_keeps_the_last_keys(
    issuer: RunningIssuer, keys: JWKSet, status: int, text: str
) -> None:
    monitor = watch(keys, issuer)
    await monitor.check_once()
    issuer.describe(status, text.replace("URL", issuer.url))
    fetched = issuer.times_asked
    with pytest.raises((Unavailable, InvalidMetadata, InvalidKeySet)) as raised:
        await monitor.check_once()
    assert isinstance(raised.value, GatewayError)
    assert "\n" not in raised.value.message
    assert issuer.times_asked == fetched  # no keys were fetched from the URL in the metadata
    assert keys.find("rsa", "RS256") is not None
    assert monitor.interval == REST_SECONDS  # and it is retried soon
    issuer.describe_again()
    await monitor.check_once()
    assert monitor.interval == monitors.URL_SECONDS


async def test_a_silent_issuer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, keys: JWKSet
) -> None:
    monkeypatch.setattr(monitors, "FETCH_SECONDS", 0.05)
    silent = await asyncio.start_server(lambda *_: asyncio.sleep(PATIENCE), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    with pytest.raises(Unavailable, match="cannot be asked for keys"):
        await DiscoveredKeySetMonitor(keys, url).check_once()
    silent.close()


def test_an_https_issuer_cannot_name_an_http_key_set() -> None:
    with pytest.raises(InvalidMetadata, match="without https"):
        key_set_url(described(ISSUER, "http://127.0.0.1/jwks")[1].encode(), ISSUER)
    text = described(ISSUER, "https://keys.example/jwks")[1].encode()
    assert key_set_url(text, ISSUER) == "https://keys.example/jwks"


def test_the_metadata_url_is_below_the_issuer() -> None:
    expected = "https://login.example/realms/studio/.well-known/openid-configuration"
    assert metadata_url(ISSUER) == metadata_url(f"{ISSUER}/") == expected


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://issuer.example", True),
        ("https://issuer.example:8443/a/b", True),
        ("http://localhost:8080", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://issuer.example", False),
        ("http://localhost.issuer.example", False),
        ("http://localhost@issuer.example", False),
        ("http://127.0.0.1.issuer.example", False),
        ("ftp://localhost", False),
        ("https://", False),
        ("https://[issuer", False),
        ("https://issuer.example:port", False),
        ("https://issuer.example/a b", False),
        ("https://issuer.example/\n", False),
        ("issuer.example", False),
        ("", False),
    ],
)
def test_only_https_and_loopback_urls_are_safe(url: str, is_safe: bool) -> None:
    assert is_safe_url(url) is is_safe
    assert is_discoverable(url) is is_safe


def test_settings_need_no_more_than_the_issuer_and_the_audience() -> None:
    given = {"jwt_issuer": ISSUER, "jwt_audience": "a"}
    assert Settings.load(overrides=given, environ={}).jwt_jwks_url == ""
