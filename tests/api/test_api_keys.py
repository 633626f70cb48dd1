"""Keys of the database: what each opens, from when, and until when."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.app import ROUTES, create_app
from gateway.auth.access import Access
from gateway.auth.api_keys import REMEMBERED_CALLERS, ApiKeys, StoredKey, digest_of
from gateway.auth.callers import Grants, Scope
from gateway.auth.key_secret import LENGTH, is_secret, make_secret
from gateway.database.migrations import migrate
from gateway.errors import Starting, Unauthorized
from gateway.http import app_keys
from gateway.openapi.route import Route
from gateway.settings import Settings
from gateway.standalone.postgres import EmbeddedPostgres
from support.database import StartApi, administer, change, make_settings, wait_until_ready
from support.index_rows import add_files, run
from support.key_kit import JOBS, change_key, known_to, make_key, status, until_status

JOB = f"{JOBS}/7d3b3a52-3d3f-4a53-9c07-9c8b6f5e9a10"
RESOLVE = "/api/v1/paths/resolve"
# Each route that a key opens, by its scope; the answers are those of an empty database.
OPENED = {
    Scope.JOBS_READ: [
        ("GET", JOBS, None, 200),
        ("GET", JOB, None, 404),
        ("GET", f"{JOB}/files", None, 404),
        ("POST", RESOLVE, {"paths": ["a"]}, 200),
    ],
    Scope.JOBS_WRITE: [
        ("POST", JOBS, {"files": ["a/1.mov"]}, 201),
        ("DELETE", JOB, None, 404),
    ],
    Scope.METRICS_READ: [
        ("GET", "/api/v1/metrics", None, 200),
        ("GET", "/api/v1/metrics/s3", None, 200),
    ],
}
CASES = [(scope, *request) for scope, requests in OPENED.items() for request in requests]


def test_every_route_that_wants_a_key_is_tried_here() -> None:
    wanting = {(r.method, r.template) for r in ROUTES if r.access is not Access.PUBLIC}
    tried = {(m, p.replace(JOB, f"{JOBS}/{{job_id}}")) for _s, m, p, _b, _a in CASES}
    assert tried == wanting


def test_a_route_that_wants_a_key_must_name_a_scope() -> None:
    with pytest.raises(ValueError, match="names no scope"):
        Route("GET", "/", ROUTES[0].handler, Access.POLL)


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_key_opens_what_its_scope_is_for_and_nothing_else(
    start_api: StartApi, database_settings: Settings, scope: Scope
) -> None:
    add_files(database_settings, ["a/1.mov"])
    api = await start_api(public_metrics=False)
    headers = await known_to(api, await make_key(database_settings, "render", [scope]))
    for needed, method, path, body, answer in CASES:
        response = await api.request(method, path, json=body, headers=headers)
        if scope in (needed, Scope.ADMIN):
            assert response.status == answer, (method, path)
        else:
            assert response.status == 403
            assert await response.json() == {
                "success": False,
                "error": f'The API key "render" lacks the scope {needed}',
            }


async def test_metrics_are_for_strangers_too_unless_the_settings_say_otherwise(
    start_api: StartApi,
) -> None:
    nobody = {"X-API-Key": ""}
    for is_public, answer in ((True, 200), (False, 401)):
        api = await start_api(public_metrics=is_public)
        for path in ("/api/v1/metrics", "/api/v1/metrics/s3"):
            for accept in ("application/json", "text/plain"):
                response = await api.get(path, headers={**nobody, "Accept": accept})
                assert response.status == answer
        assert (await api.get("/api/v1/health", headers=nobody)).status == 200


async def test_the_key_of_the_settings_may_do_everything_beside_others(
    api: Any, database_settings: Settings
) -> None:
    await known_to(api, await make_key(database_settings, "render"))
    assert (await api.get(JOBS)).status == 200


@pytest.mark.parametrize("verb", ["revoke", "disable"])
async def test_a_key_that_is_revoked_or_disabled_opens_nothing_and_its_holder_is_told_why(
    api: Any, database_settings: Settings, verb: str
) -> None:
    headers = await known_to(api, await make_key(database_settings, "render"))
    await change_key(database_settings, verb, "render")
    await until_status(api, headers, lambda code: code == 401)
    told = (await (await api.get(JOBS, headers=headers)).json())["error"]
    word = {"revoke": "was revoked", "disable": "is disabled"}[verb]
    assert told == f'The API key "render" {word}'


async def test_a_disabled_key_that_is_enabled_opens_again(
    api: Any, database_settings: Settings
) -> None:
    headers = await known_to(api, await make_key(database_settings, "render"))
    for verb, code in (("disable", 401), ("enable", 400)):
        await change_key(database_settings, verb, "render")
        await until_status(api, headers, lambda it, code=code: it == code)


async def test_a_row_that_is_deleted_closes_its_key(api: Any, database_settings: Settings) -> None:
    headers = await known_to(api, await make_key(database_settings, "render"))
    run(database_settings, "DELETE FROM teamcache_gateway.api_keys")
    await until_status(api, headers, lambda code: code == 401)


def stored(**changes: Any) -> tuple[str, StoredKey]:
    secret = make_secret()
    grants = Grants(frozenset({Scope.JOBS_READ}))
    return secret, StoredKey(**{"name": "render", "digest": digest_of(secret), "grants": grants}
                             | changes)  # fmt: skip


def test_a_key_ends_at_the_very_moment_that_was_said() -> None:
    now = [99.9]
    secret, key = stored(expires_at=100.0)
    api_keys = ApiKeys("own", clock=lambda: now[0])
    api_keys.load([key])
    caller = api_keys.authenticate(secret, "")
    assert (caller.key_name, caller.expires_at, api_keys.is_valid(caller)) == (
        "render",
        100.0,
        True,
    )
    now[0] = 100.0
    assert not api_keys.is_valid(caller)
    with pytest.raises(Unauthorized, match='"render" has expired'):
        api_keys.authenticate(secret, "")


def test_whoever_is_remembered_is_known_by_address_and_forgotten_when_a_key_changes() -> None:
    secret, key = stored()
    api_keys = ApiKeys("own")
    api_keys.load([key])
    callers = [api_keys.authenticate(secret, address) for address in ("a", "b", "a")]
    assert [caller.address for caller in callers] == ["a", "b", "a"]
    for changed in ([replace(key, is_revoked=True)], []):
        api_keys.load(changed)
        with pytest.raises(Unauthorized):
            api_keys.authenticate(secret, "a")
    assert api_keys.authenticate("own", "a").key_name == "default"
    api_keys.replace("another")
    with pytest.raises(Unauthorized):
        api_keys.authenticate("own", "a")


def test_of_more_addresses_than_it_remembers_each_is_known_all_the_same() -> None:
    api_keys = ApiKeys("own")
    for number in range(REMEMBERED_CALLERS + 2):
        assert api_keys.authenticate("own", str(number)).address == str(number)
    assert len(api_keys._callers) <= REMEMBERED_CALLERS


def test_a_caller_is_refused_once_the_grants_of_its_key_change() -> None:
    secret, key = stored()
    api_keys = ApiKeys("own")
    api_keys.load([key])
    caller = api_keys.authenticate(secret, "")
    told: list[bool] = []
    api_keys.subscribe(lambda: told.append(api_keys.is_valid(caller)))
    api_keys.load([key])
    assert told == []
    wider = Grants(frozenset(Scope))
    api_keys.load([StoredKey(key.name, key.digest, wider)])
    api_keys.load([])
    assert told == [False, False]


def test_before_the_keys_were_read_one_of_the_database_is_not_called_wrong() -> None:
    secret, key = stored()
    api_keys = ApiKeys("own")
    with pytest.raises(Starting):
        api_keys.authenticate(secret, "")
    for wrong in (None, "", "wrong", secret[:-1], f"{secret}a", secret.upper(), secret.swapcase()):
        with pytest.raises(Unauthorized):
            api_keys.authenticate(wrong, "")
    assert api_keys.authenticate("own", "").key_name == "default"
    api_keys.load([key])
    assert api_keys.authenticate(secret, "").key_name == "render"
    with pytest.raises(Unauthorized):
        api_keys.authenticate(make_secret(), "")


def test_a_secret_is_random_and_known_by_its_form() -> None:
    secrets = {make_secret() for _ in range(100)}
    assert len(secrets) == 100 and all(map(is_secret, secrets))
    assert {len(it) for it in secrets} == {LENGTH}
    one = next(iter(secrets))
    for place in range(LENGTH):
        other = "B" if one[place] != "B" else "C"
        assert not is_secret(one[:place] + other + one[place + 1 :])
    for wrong in ("", "tcg_", "é" * LENGTH, "tcg_" + "=" * 48, "tcg_" + "+/" * 24, "\ud800" * 52):
        assert not is_secret(wrong)


def test_keys_do_not_stand_where_they_would_be_printed() -> None:
    secret, key = stored()
    api_keys = ApiKeys("own")
    api_keys.load([key])
    caller = api_keys.authenticate(secret, "")
    assert secret not in repr((vars(api_keys), key, caller))
    assert digest_of("own").hex() not in repr(caller) and str(key.digest) not in repr(caller)


async def test_a_gateway_without_its_database_answers_503_and_not_401_to_a_stored_key(
    own_server: EmbeddedPostgres, aiohttp_client: Any
) -> None:
    settings = change(make_settings(own_server, "teamcache_db"), {"api_key_file": ""})
    await migrate(settings)
    headers = {"X-API-Key": await make_key(settings, "render")}
    own_server.stop()
    api = await aiohttp_client(create_app(settings))
    assert await status(api, headers) == 503
    assert await status(api, {"X-API-Key": "wrong"}) == 401
    own_server.start()
    await wait_until_ready(api)
    await until_status(api, headers, lambda code: code == 400)


async def test_while_the_database_is_away_known_keys_hold_and_what_was_missed_is_read_after_it(
    own_server: EmbeddedPostgres, aiohttp_client: Any
) -> None:
    settings = change(make_settings(own_server, "teamcache_db"), {"api_key_file": ""})
    await migrate(settings)
    first, second = [await make_key(settings, name) for name in ("first", "second")]
    api = await aiohttp_client(create_app(settings))
    await wait_until_ready(api)
    headers = [await known_to(api, it) for it in (first, second)]
    own_server.stop()
    # Known, so it is the database that it waits for: never 401.
    assert [(await api.get(JOBS, headers=it)).status for it in headers] == [503, 503]
    own_server.start()
    # Without the trigger nobody is told: only the reading when listening begins can find it.
    run(settings, "ALTER TABLE teamcache_gateway.api_keys DISABLE TRIGGER USER")
    run(settings, "UPDATE teamcache_gateway.api_keys SET revoked_at = now()"
                             " WHERE name = 'first'")  # fmt: skip
    await until_status(api, headers[0], lambda code: code == 401)
    assert await status(api, headers[1]) == 400


async def test_a_key_made_elsewhere_opens_every_gateway_on_the_database_and_so_is_it_closed(
    start_api: StartApi, database_settings: Settings
) -> None:
    both = [await start_api(), await start_api()]
    secret = await make_key(database_settings, "render")
    headers = {"X-API-Key": secret}
    for api in both:
        await known_to(api, secret)
    await change_key(database_settings, "revoke", "render")
    for api in both:
        await until_status(api, headers, lambda code: code == 401)


async def test_a_valid_key_passes_from_an_address_that_has_run_out_of_bad_tries(
    api: Any, database_settings: Settings
) -> None:
    headers = await known_to(api, await make_key(database_settings, "render"))
    async with asyncio.timeout(30):
        while await status(api, {"X-API-Key": make_secret()}) != 429:
            pass
    assert await status(api, headers) == 400


@pytest.mark.usefixtures("still_clock")
async def test_each_key_has_the_limits_that_were_given_to_it(
    start_api: StartApi, database_settings: Settings
) -> None:
    api = await start_api(rate_limit_per_minute=1, poll_limit_per_minute=1)
    few = {"rate_limit_per_minute": 2, "poll_limit_per_minute": 3}
    none = {"rate_limit_per_minute": 0, "poll_limit_per_minute": 0}
    secrets = [
        await make_key(database_settings, "few", **few),
        await make_key(database_settings, "none", **none),
        await make_key(database_settings, "usual"),
    ]
    async with asyncio.timeout(30):
        while len(api.server.app[app_keys.API_KEYS]._stored or ()) < 3:
            await asyncio.sleep(0.01)
    for secret, requests, polls in zip(secrets, (2, None, 1), (3, None, 1), strict=True):
        headers = {"X-API-Key": secret}
        for path, limit in ((JOBS, requests), (f"{JOBS}/-", polls)):
            answers = [await status(api, headers, path) for _ in range(5)]
            assert answers.count(429) == (0 if limit is None else 5 - limit)


async def test_the_end_of_a_key_may_be_farther_than_a_clock_can_tell(
    api: Any, database_settings: Settings
) -> None:
    for end in ("infinity", "200000-01-01"):
        name = f"until {end}"
        secret = await make_key(database_settings, name)
        run(database_settings, "UPDATE teamcache_gateway.api_keys SET expires_at = %s"
                               " WHERE name = %s", end, name)  # fmt: skip
        await known_to(api, secret)
    past = datetime.now(UTC) - timedelta(days=365 * 2_000)
    for number, end in enumerate(("-infinity", "4000-01-01 BC", past)):
        secret = await make_key(database_settings, f"past {number}")
        headers = await known_to(api, secret)
        run(database_settings, "UPDATE teamcache_gateway.api_keys SET expires_at = %s"
                               " WHERE name = %s", end, f"past {number}")  # fmt: skip
        await until_status(api, headers, lambda code: code == 401)


async def test_a_scope_that_only_newer_gateways_know_grants_nothing_here(
    api: Any, database_settings: Settings
) -> None:
    secret = await make_key(database_settings, "render")
    run(database_settings, "UPDATE teamcache_gateway.api_keys SET scopes = '{jobs:read,all}'")
    headers = await known_to(api, secret)
    await until_status(api, headers, lambda code: code == 400)
    response = await api.post(JOBS, json={"files": ["a"]}, headers=headers)
    assert response.status == 403


async def test_a_role_that_may_not_read_the_keys_is_granted_it_by_the_owner(
    empty_database: Settings, postgres_server: EmbeddedPostgres
) -> None:
    from gateway.database.migrations import pending_statements

    await migrate(empty_database)
    administer(postgres_server, "CREATE ROLE {} LOGIN", "keyless")
    try:
        statements = await pending_statements(empty_database, "keyless")
        grant = "GRANT SELECT, INSERT, UPDATE ON teamcache_gateway.api_keys TO keyless;"
        assert grant in statements
    finally:
        administer(postgres_server, "DROP ROLE {}", "keyless")
