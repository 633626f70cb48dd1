"""Signed requests against gateways with a real database: what they open, and what is refused."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.auth.callers import Scope
from gateway.auth.nonce_store import NonceStore
from gateway.database import Database
from gateway.database.readiness import Readiness
from gateway.database.sql import load_queries
from gateway.http import app_keys
from gateway.monitors.purge import PurgeMonitor
from gateway.settings import Settings
from support.database import StartApi
from support.index_rows import add_files, run
from support.key_kit import JOBS, change_key, closing_code
from support.signing_kit import (
    MUTATED,
    NAME,
    USUAL,
    Headers,
    Signer,
    knowing,
    make_signer,
    mutate,
    spent_nonces,
)
from support.stream_kit import Listener, listening

JOB = f"{JOBS}/7d3b3a52-3d3f-4a53-9c07-9c8b6f5e9a10"
PATIENCE = 30.0
BODY = b'{"files": ["a/1.mov"]}'


@pytest.fixture
async def signer(database_settings: Settings) -> Signer:
    add_files(database_settings, ["a/1.mov"])
    return await make_signer(database_settings)


@pytest.fixture
async def api(start_api: StartApi, signer: Signer) -> Any:
    return await knowing(await start_api(), signer)


async def send(
    api: Any,
    signer: Signer,
    method: str,
    path: str,
    body: bytes | None = None,
    sent: bytes | None = None,
    more: Headers | None = None,
    **wrong: Any,
) -> tuple[int, dict[str, Any]]:
    """Sign and send; ``sent`` is another body than the one that was signed."""
    headers = signer.sign(method, str(api.make_url(path)), body, **wrong) | (more or {})
    return await send_as_it_is(api, method, path, headers, body if sent is None else sent)


async def send_as_it_is(
    api: Any, method: str, path: str, headers: Headers, body: bytes | None = None
) -> tuple[int, dict[str, Any]]:
    response = await api.request(method, path, headers=headers, data=body)
    if response.status == 401:
        assert response.headers.get("Accept-Signature", "sig=(").startswith("sig=(")
    return response.status, await response.json()


# What a signature opens


async def test_a_key_that_signs_submits_reads_lists_and_cancels(api: Any, signer: Signer) -> None:
    code, created = await send(api, signer, "POST", JOBS, BODY)
    assert code == 201
    job = f"{JOBS}/{created['jobId']}"
    code, shown = await send(api, signer, "GET", job)
    assert (code, shown["job"]["submittedBy"]) == (200, NAME)
    assert (await send(api, signer, "GET", f"{JOBS}?limit=1&offset=0"))[0] == 200
    assert (await send(api, signer, "DELETE", job))[0] == 200


async def test_the_scopes_and_paths_of_a_key_that_signs_hold(
    start_api: StartApi, database_settings: Settings
) -> None:
    reader = await make_signer(database_settings, "reader", [Scope.JOBS_READ])
    api = await knowing(await start_api(), reader)
    code, told = await send(api, reader, "POST", JOBS, BODY)
    assert (code, told["error"]) == (403, 'The API key "reader" lacks the scope jobs:write')
    # Refused before it counted: no row was written for it.
    assert spent_nonces(database_settings) == []


async def test_a_request_that_shows_a_key_is_the_keys(api: Any, signer: Signer) -> None:
    headers = signer.sign("GET", "http://elsewhere/")
    key = {"X-API-Key": api.server.app[app_keys.SETTINGS].api_gateway_key.get_secret_value()}
    assert (await send_as_it_is(api, "GET", JOBS, headers | key))[0] == 200
    assert (await send_as_it_is(api, "GET", JOBS, headers | {"X-API-Key": "x"}))[0] == 401


async def test_nothing_that_could_be_shown_opens_a_key_that_signs(
    api: Any, signer: Signer, database_settings: Settings
) -> None:
    [row] = run(database_settings, "SELECT digest, public_key FROM teamcache_gateway.api_keys")
    assert bytes(row.public_key) == signer.public
    for shown in (NAME, row.digest.hex(), signer.public.hex()):
        assert (await send_as_it_is(api, "GET", JOBS, {"X-API-Key": shown}))[0] == 401


# What is refused


async def test_a_request_sent_twice_is_refused_the_second_time(api: Any, signer: Signer) -> None:
    for method, path, body in (("POST", JOBS, BODY), ("GET", JOBS, None)):
        headers = signer.sign(method, str(api.make_url(path)), body)
        assert (await send_as_it_is(api, method, path, headers, body))[0] < 300
        code, told = await send_as_it_is(api, method, path, headers, body)
        assert (code, told["error"]) == (
            401, "A request with this signature's nonce was sent before",
        )  # fmt: skip


async def test_of_one_submit_at_two_gateways_and_often_one_makes_a_job(
    start_api: StartApi, api: Any, signer: Signer, database_settings: Settings
) -> None:
    other = await knowing(await start_api(), signer)
    # What one gateway remembers must not help here.
    gateways = [api, other]
    url = "http://gateway.example/api/v1/cache/jobs"
    headers = signer.sign("POST", url, BODY) | {"Host": "gateway.example"}
    tries = [send_as_it_is(gateways[n % 2], "POST", JOBS, headers, BODY) for n in range(20)]
    codes = sorted([code for code, _ in await asyncio.gather(*tries)])
    assert codes == [201] + [401] * 19
    [row] = run(database_settings, "SELECT count(*) AS jobs FROM cache_jobs")
    assert row.jobs == 1 and len(spent_nonces(database_settings)) == 1


async def test_the_second_gateway_says_why(start_api: StartApi, api: Any, signer: Signer) -> None:
    other = await knowing(await start_api(), signer)
    headers = signer.sign("POST", "http://g.example/api/v1/cache/jobs", BODY)
    headers["Host"] = "g.example"
    assert (await send_as_it_is(api, "POST", JOBS, headers, BODY))[0] == 201
    code, told = await send_as_it_is(other, "POST", JOBS, headers, BODY)
    assert (code, told["error"]) == (401, "A request with this signature's nonce was sent before")


async def test_a_body_that_was_changed_on_the_way_makes_no_job(
    api: Any, signer: Signer, database_settings: Settings
) -> None:
    code, told = await send(api, signer, "POST", JOBS, BODY, BODY.replace(b"a/", b"b/"))
    assert (code, told["error"]) == (
        401, "The body is not what Content-Digest says, in sha-256 or sha-512",
    )  # fmt: skip
    assert run(database_settings, "SELECT id FROM cache_jobs") == []


async def test_a_body_whose_digest_is_not_covered_is_refused(api: Any, signer: Signer) -> None:
    code, told = await send(api, signer, "POST", JOBS, BODY, covered=USUAL)
    assert (code, told["error"]) == (401, "The signature does not cover content-digest")


async def test_a_body_of_a_read_is_looked_at_too(api: Any, signer: Signer) -> None:
    headers = signer.sign("GET", str(api.make_url(JOBS)))
    code, told = await send_as_it_is(api, "GET", JOBS, headers, b"{}")
    assert (code, told["error"]) == (401, "The signature does not cover content-digest")


async def test_a_packed_body_is_refused_as_its_bytes_are_not_seen(api: Any, signer: Signer) -> None:
    packed = zlib.compress(BODY)
    code, told = await send(api, signer, "POST", JOBS, packed, more={"Content-Encoding": "deflate"})
    assert (code, told["error"]) == (401, "The body of a signed request must not be packed")


async def test_a_large_body_is_signed_and_one_that_is_too_large_is_not_taken(
    api: Any, signer: Signer
) -> None:
    large = json.dumps({"files": ["a/1.mov"] * 50_000}).encode()
    assert (await send(api, signer, "POST", JOBS, large))[0] == 201
    code, told = await send(api, signer, "POST", JOBS, large + b" " * 10 * 1024 * 1024)
    assert (code, told["error"]) == (413, "Request body is too large")


async def test_the_window_is_that_of_the_settings(start_api: StartApi, signer: Signer) -> None:
    api = await knowing(await start_api(signature_window=600), signer)
    now = int(time.time())
    assert (await send(api, signer, "GET", JOBS, created=now - 500))[0] == 200
    code, told = await send(api, signer, "GET", JOBS, created=now - 700)
    assert code == 401 and told["error"].endswith("by this gateway's clock, and good for 600 s")


async def test_a_gateway_whose_clock_is_off_says_by_how_much(api: Any, signer: Signer) -> None:
    signatures = api.server.app[app_keys.SIGNATURES]
    for off, words in ((4000, "4000 s old"), (-4000, "4000 s from now")):
        now = int(time.time())
        signatures._clock = lambda now=now, off=off: float(now + off)
        code, told = await send(api, signer, "GET", JOBS, created=now)
        assert code == 401 and words in told["error"]


@pytest.mark.parametrize(
    ("verb", "sentence"),
    [
        ("disable", 'The API key "farm" is disabled'),
        ("revoke", 'The API key "farm" was revoked'),
    ],
)
async def test_a_key_that_is_taken_back_signs_for_nobody(
    api: Any, signer: Signer, database_settings: Settings, verb: str, sentence: str
) -> None:
    await change_key(database_settings, verb, NAME)
    async with asyncio.timeout(PATIENCE):
        while (answer := await send(api, signer, "GET", JOBS))[0] != 401:
            await asyncio.sleep(0.01)
    assert answer[1]["error"] == sentence
    # Only its holder is told what has become of it.
    _, told = await send(api, Signer(NAME), "GET", JOBS)
    assert told["error"] == "The signature is not that of its key for this request"


async def test_a_key_that_has_expired_signs_for_nobody(
    api: Any, signer: Signer, database_settings: Settings
) -> None:
    run(database_settings, "UPDATE teamcache_gateway.api_keys SET expires_at = now()")
    async with asyncio.timeout(PATIENCE):
        while (answer := await send(api, signer, "GET", JOBS))[0] != 401:
            await asyncio.sleep(0.01)
    assert answer[1]["error"] == 'The API key "farm" has expired'


async def test_wrong_signatures_draw_from_the_bucket_of_wrong_keys(
    api: Any, signer: Signer
) -> None:
    codes = [(await send(api, Signer(NAME), "GET", JOBS))[0] for _ in range(11)]
    assert codes == [401] * 10 + [429]
    assert (await send(api, signer, "GET", JOBS))[0] == 200
    assert (await send(api, signer, "POST", JOBS, BODY, b"{}"))[0] == 429


async def test_the_limits_of_a_key_that_signs_hold_before_its_body_is_looked_at(
    start_api: StartApi, database_settings: Settings
) -> None:
    signer = await make_signer(database_settings, rate_limit_per_minute=1)
    api = await knowing(await start_api(), signer)
    assert (await send(api, signer, "DELETE", JOB))[0] == 404
    assert (await send(api, signer, "DELETE", JOB))[0] == 429
    assert len(spent_nonces(database_settings)) == 1


async def test_the_audit_log_tells_of_refused_signatures_and_of_no_signature(
    start_api: StartApi, signer: Signer, tmp_path: Any
) -> None:
    api = await knowing(await start_api(audit_log=str(tmp_path / "audit")), signer)
    headers = signer.sign("POST", str(api.make_url(JOBS)), BODY)
    for _ in range(2):
        await send_as_it_is(api, "POST", JOBS, headers, BODY)
    await send(api, Signer(NAME), "GET", JOBS)
    await asyncio.to_thread(api.app[app_keys.AUDIT_LOG].flush)
    text = (tmp_path / "audit").read_text()
    told = [json.loads(line) for line in text.splitlines()]
    assert [(it["event"], it["outcome"], it["caller"]) for it in told] == [
        ("job.create", "created", NAME), ("job.create", "refused", None),
        ("request", "refused", None),
    ]  # fmt: skip
    assert "nonce" in told[1]["error"] and headers["Signature"][5:30] not in text


# Reads and changes are remembered in different places


async def test_a_read_costs_no_row_and_each_change_costs_one(
    api: Any, signer: Signer, database_settings: Settings
) -> None:
    assert (await send(api, signer, "GET", JOBS, nonce="read"))[0] == 200
    assert (await send(api, signer, "DELETE", JOB, nonce="change"))[0] == 404
    assert spent_nonces(database_settings) == ["change"]


async def test_old_nonces_are_deleted_and_young_ones_are_kept(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.monitors.purge.BATCH", 7)
    run(
        database_settings,
        "INSERT INTO teamcache_gateway.signature_nonces (key_name, nonce, seen_at)"
        " SELECT 'farm', n::text, now() - n * interval '10 minutes' FROM generate_series(0, 40) n",
    )
    readiness = Readiness()
    readiness.set_ready()
    async with Database(database_settings) as database:
        store = NonceStore(database)
        await PurgeMonitor(
            "", database, load_queries("purge")["signature_nonces"], readiness
        ).check_once()
        assert not await store.spend("farm", "17")
    assert len(spent_nonces(database_settings)) == 18


# WebSockets


async def handshake(api: Any, headers: Headers) -> Listener:
    return Listener(await api.ws_connect("/ws", headers=headers))


async def test_a_signed_handshake_is_as_good_as_a_key_until_the_key_is_taken_back(
    api: Any, signer: Signer, database_settings: Settings
) -> None:
    listener = await handshake(api, signer.sign("GET", str(api.make_url("/ws"))))
    assert (await listener.subscribe(channel="jobs"))["jobs"] == []
    assert len(spent_nonces(database_settings)) == 1
    await change_key(database_settings, "revoke", NAME)
    assert await closing_code(listener.socket) == 1008


async def test_a_handshake_sent_again_to_another_gateway_is_refused(
    start_api: StartApi, api: Any, signer: Signer
) -> None:
    other = await knowing(await start_api(), signer)
    headers = signer.sign("GET", "http://g.example/ws") | {"Host": "g.example"}
    await handshake(api, headers)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await handshake(other, headers)
    assert refused.value.status == 401


async def test_a_handshake_with_a_wrong_signature_is_refused_and_one_without_is_a_stranger(
    api: Any, signer: Signer
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await handshake(api, signer.sign("POST", str(api.make_url("/ws"))))
    assert refused.value.status == 401
    async with listening(api) as stranger:
        await stranger.ask(type="subscribe", channel="jobs")
        assert await stranger.error() == "Invalid or missing API key"


# Behind a proxy

OUTSIDE = "https://cache.studio.example/teamcache"
FORWARDED = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "cache.studio.example",
    "X-Forwarded-Prefix": "/teamcache/",
}


@pytest.mark.parametrize("covered", [USUAL, ("@method", "@target-uri")], ids=["in parts", "whole"])
async def test_behind_a_trusted_proxy_what_the_client_wrote_is_signed(
    start_api: StartApi, signer: Signer, covered: tuple[str, ...]
) -> None:
    api = await knowing(await start_api(trusted_proxies=["127.0.0.1"]), signer)
    headers = signer.sign("GET", f"{OUTSIDE}{JOBS}?limit=1", covered=covered)
    code, _ = await send_as_it_is(api, "GET", f"{JOBS}?limit=1", headers | FORWARDED)
    assert code == 200


async def test_of_a_proxy_that_is_not_trusted_nothing_is_believed(api: Any, signer: Signer) -> None:
    headers = signer.sign("GET", f"{OUTSIDE}{JOBS}") | FORWARDED
    assert (await send_as_it_is(api, "GET", JOBS, headers))[0] == 401


async def test_a_proxy_that_keeps_the_host_needs_no_trust_though_it_ends_tls(
    api: Any, signer: Signer
) -> None:
    headers = signer.sign("GET", f"https://g.example{JOBS}?limit=2") | {"Host": "g.example"}
    assert (await send_as_it_is(api, "GET", f"{JOBS}?limit=2", headers))[0] == 200


# Whatever is sent


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.sampled_from(["Signature-Input", "Signature", "Content-Digest"]), changes=MUTATED)
@example(name="Signature-Input", changes=[(0, 400, "")])
async def test_no_mutated_header_is_a_fault_of_ours(
    api: Any, signer: Signer, name: str, changes: list[tuple[int, int, str]]
) -> None:
    headers = signer.sign("POST", str(api.make_url(JOBS)), b"{}")
    changed = mutate(headers[name], changes)
    headers[name] = "".join(letter for letter in changed if letter.isprintable()) or "x"
    code, _ = await send_as_it_is(api, "POST", JOBS, headers, b"{}")
    # 400 where it was right all the same: a submit of nothing.
    assert code in (400, 401, 429)
