"""Errors: one JSON shape for all of them, ids on every answer, and the limits that say when."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import psycopg2
import pytest

import gateway
from gateway import errors
from gateway.auth.api_keys import ApiKeys
from gateway.auth.callers import EVERYTHING, Caller
from gateway.auth.jwks import InvalidKeySet
from gateway.auth.oidc_discovery import InvalidMetadata
from gateway.database import Database, connection_arguments
from gateway.errors import (
    EmbeddedPostgresError,
    GatewayError,
    IndexRefused,
    IndexWouldEmpty,
    KeyNotFound,
    MigrationRequired,
    PermissionDenied,
    SettingsError,
    StatementFailed,
    Unauthorized,
)
from gateway.http.middleware import STATUS_OF_ERROR
from gateway.net.certificate import CertificateRefused
from gateway.server.listener import CannotListen
from gateway.settings import Settings
from support.database import StartApi
from support.index_rows import run

JOBS = "/api/v1/cache/jobs"
JOB = f"{JOBS}/6bb4629b-1487-477c-96fe-b762d82a099b"
SECRET = "k3y-0f-our-0wn"
UNAUTHORIZED = {"success": False, "error": "Invalid or missing API key"}
TOO_MANY = {"success": False, "error": "Too many requests, please try again later"}


@pytest.fixture
async def api(start_shared_api: StartApi) -> Any:
    """An API with a key of its own; the client shows none."""
    client = await start_shared_api(api_gateway_key=SECRET)
    del client.session.headers["X-API-Key"]
    return client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "demo-api-key-2024"},
        {"X-API-Key": SECRET.upper()},
        {"X-API-Key": SECRET[:-1]},
        {"X-API-Key": f"{SECRET}x"},
        {"X-API-Key": "ключ"},
        {"X-API-Key": "x" * 7000},
        {"Authorization": f"Bearer {SECRET}"},
    ],
    ids=str,
)
async def test_without_the_key_nothing_is_answered(api: Any, headers: dict[str, str]) -> None:
    for method, path in (("POST", JOBS), ("GET", JOBS), ("GET", JOB), ("DELETE", JOB)):
        response = await api.request(method, path, headers=headers)
        assert (response.status, await response.json()) == (401, UNAUTHORIZED)


async def test_the_key_in_the_query_opens_nothing(api: Any) -> None:
    assert (await api.get(JOBS, params={"X-API-Key": SECRET, "api_key": SECRET})).status == 401


async def test_a_wrong_key_is_refused_before_anything_else_is_looked_at(api: Any) -> None:
    response = await api.get(f"{JOBS}/no-id?limit=x")
    assert (response.status, await response.json()) == (401, UNAUTHORIZED)


async def test_the_documented_errors_are_answered_to_the_letter(api: Any) -> None:
    headers = {"X-API-Key": SECRET}
    for path, status, error in (
        (f"{JOBS}/123", 400, "Invalid job ID format"),
        (JOB, 404, "Job not found"),
    ):
        response = await api.get(path, headers=headers)
        assert response.status == status
        assert await response.json() == {"success": False, "error": error}
        assert response.content_type == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nothing", 404, "Not found"),
        ("GET", "/api/v1", 404, "Not found"),
        ("GET", "/api/v1/cache/jobs/", 404, "Not found"),
        ("GET", "/api/v1/cache/jobs/a/b", 404, "Not found"),
        ("GET", "/%00", 404, "Not found"),
        ("GET", "/%FF%FE", 404, "Not found"),
        ("POST", "/api/v1/health", 405, "Method not allowed"),
        ("PUT", JOBS, 405, "Method not allowed"),
        ("PATCH", JOB, 405, "Method not allowed"),
        ("PROPFIND", JOBS, 405, "Method not allowed"),
    ],
)
async def test_what_does_not_exist_is_told_in_json(
    api: Any, method: str, path: str, status: int, error: str
) -> None:
    response = await api.request(method, path)
    assert response.status == status
    assert await response.json() == {"success": False, "error": error}
    assert "X-Request-ID" in response.headers
    assert ("Allow" in response.headers) is (status == 405)


@pytest.mark.parametrize("stage", ["in the handler", "in the database"])
async def test_a_fault_of_ours_is_answered_without_anything_from_inside(
    api: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stage: str
) -> None:
    fetch = Database.fetch

    async def fail(self: Database, query: str, parameters: Any = None) -> Any:
        if stage == "in the handler":
            raise RuntimeError("secret detail")
        return await fetch(self, "SELECT secret_column FROM cache_jobs", parameters)

    monkeypatch.setattr(Database, "fetch", fail)
    response = await api.get(JOB, headers={"X-API-Key": SECRET})
    assert response.status == 500
    assert await response.json() == {"success": False, "error": "Internal server error"}
    # A monitor that asked meanwhile has logged a fault too.
    requests = [record for record in caplog.records if record.name == "gateway.http.middleware"]
    (record,) = [record for record in requests if record.levelname == "ERROR"]
    assert response.headers["X-Request-ID"] in record.getMessage()
    assert "secret" in caplog.text


async def test_a_database_that_is_too_slow_is_unavailable(
    start_api: StartApi, database_settings: Settings
) -> None:
    api = await start_api(db_statement_timeout=1.0)
    lock = "LOCK TABLE cache_jobs IN ACCESS EXCLUSIVE MODE"
    async with holding(database_settings, lock):
        response = await api.get(JOB)
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert await response.json() == {
        "success": False,
        "error": "The database took too long to answer",
    }


async def test_a_table_that_stays_locked_is_unavailable(
    start_api: StartApi, database_settings: Settings
) -> None:
    """As where the role has a lock_timeout, and somebody alters the table."""
    run(database_settings, "ALTER ROLE CURRENT_USER SET lock_timeout = '100ms'")
    try:
        api = await start_api()
        async with holding(database_settings, "LOCK TABLE cache_jobs IN ACCESS EXCLUSIVE MODE"):
            response = await api.get(JOB)
    finally:
        run(database_settings, "ALTER ROLE CURRENT_USER RESET lock_timeout")
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert await response.json() == {
        "success": False,
        "error": "A table stayed locked, please try again later",
    }


def test_every_error_is_drawn_in_the_tree() -> None:
    for found in iter_modules(gateway.__path__, "gateway."):
        if found.name != "gateway.__main__":
            import_module(found.name)
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(drawn) == sorted(kind.__name__ for kind in descendants_of(GatewayError))


def test_what_has_no_status_is_no_callers_business() -> None:
    """It stops a command or a monitor; in an answer it would be a fault of ours, 500."""
    ours = {
        SettingsError, MigrationRequired, EmbeddedPostgresError, IndexRefused, IndexWouldEmpty,
        KeyNotFound, StatementFailed, PermissionDenied, CannotListen, CertificateRefused,
        InvalidKeySet, InvalidMetadata,
    }  # fmt: skip
    told = tuple(STATUS_OF_ERROR)
    assert {it for it in descendants_of(GatewayError) if not issubclass(it, told)} == ours


def descendants_of(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants_of(child)


@asynccontextmanager
async def holding(settings: Settings, statement: str) -> AsyncIterator[None]:
    """Run a statement and keep its transaction open."""
    with closing(psycopg2.connect(**connection_arguments(settings))) as connection:
        connection.cursor().execute(statement)
        yield


@pytest.mark.parametrize("path", ["/livez", "/api/v1/health", JOBS, "/nowhere", "/api/v1/metrics"])
async def test_every_answer_has_an_id_of_its_own(api: Any, path: str) -> None:
    ids = [(await api.get(path)).headers["X-Request-ID"] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{16}", one) for one in ids)
    assert ids[0] != ids[1]


@pytest.mark.parametrize("sent", ["a", "job-1:step_2.retry", "x" * 128, "6BB4629B-1487"])
async def test_a_harmless_id_of_the_caller_is_kept(api: Any, sent: str) -> None:
    assert (await api.get(JOBS, headers={"X-Request-ID": sent})).headers["X-Request-ID"] == sent


@pytest.mark.parametrize(
    "sent", ["", "a b", "x" * 129, "a\tb", "é", "<script>", "a;b", 'a"b', "\u202eabc", "{}"]
)
async def test_an_id_that_could_forge_a_log_is_replaced(api: Any, sent: str) -> None:
    found = (await api.get("/livez", headers={"X-Request-ID": sent})).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{16}", found)


async def exhaust(api: Any, method: str, path: str, tokens: int) -> Any:
    """Use up a bucket: ``tokens`` requests pass, the next one's answer is returned."""
    for left in reversed(range(tokens)):
        response = await api.request(method, path)
        assert response.status != 429
        assert f";r={left};" in response.headers["RateLimit"]
    return await api.request(method, path)


@pytest.mark.usefixtures("still_clock")
async def test_the_eleventh_request_of_a_minute_is_one_too_many(start_api: StartApi) -> None:
    api = await start_api(rate_limit_per_minute=10)
    refused = await exhaust(api, "GET", JOBS, 10)
    assert (refused.status, await refused.json()) == (429, TOO_MANY)
    assert refused.headers["Retry-After"] == "6"
    assert refused.headers["RateLimit-Policy"] == '"requests";q=10;w=60'
    assert refused.headers["RateLimit"] == '"requests";r=0;t=60'
    # Submit, list and cancel draw from one bucket.
    for method, path in (("POST", JOBS), ("DELETE", JOB)):
        assert (await api.request(method, path)).status == 429


@pytest.mark.usefixtures("still_clock")
async def test_reading_a_job_draws_from_a_bucket_of_its_own(start_api: StartApi) -> None:
    api = await start_api(rate_limit_per_minute=1, poll_limit_per_minute=3)
    assert (await exhaust(api, "GET", JOBS, 1)).status == 429
    refused = await exhaust(api, "GET", JOB, 3)
    assert refused.status == 429
    assert refused.headers["RateLimit-Policy"] == '"polls";q=3;w=60'


async def test_a_limit_of_0_limits_nothing(api: Any) -> None:
    for path in (JOBS, JOB):
        for _ in range(15):
            response = await api.get(path, headers={"X-API-Key": SECRET})
            assert response.status != 429
            assert "RateLimit" not in response.headers


async def test_wrong_keys_run_out_but_the_right_one_passes(still_clock: None, api: Any) -> None:
    for _ in range(10):
        assert (await api.get(JOBS, headers={"X-API-Key": "wrong"})).status == 401
    refused = await api.get(JOBS)
    assert (refused.status, await refused.json()) == (429, TOO_MANY)
    assert refused.headers["Retry-After"] == "6"
    assert refused.headers["RateLimit-Policy"] == '"bad-keys";q=10;w=60'
    assert (await api.get(JOBS, headers={"X-API-Key": SECRET})).status == 200


async def test_health_is_never_limited(start_api: StartApi) -> None:
    api = await start_api(rate_limit_per_minute=1, poll_limit_per_minute=1)
    for _ in range(20):
        assert (await api.get("/api/v1/health")).status == 200


@pytest.mark.usefixtures("still_clock")
async def test_a_refused_request_creates_nothing(
    start_api: StartApi, database_settings: Settings
) -> None:
    api = await start_api(rate_limit_per_minute=1)
    assert (await exhaust(api, "POST", JOBS, 1)).status == 429
    assert (await api.post(JOBS, json={"files": ["a"]})).status == 429
    assert run(database_settings, "SELECT FROM cache_jobs") == []


def test_a_key_proves_its_caller() -> None:
    assert ApiKeys(SECRET).authenticate(SECRET, "::1") == Caller("default", "::1", EVERYTHING)


@pytest.mark.parametrize("sent", [None, "", "k3y", f" {SECRET}", SECRET + "\0", "\udcff", "ключ"])
def test_what_is_not_the_key_proves_nobody(sent: str | None) -> None:
    with pytest.raises(Unauthorized):
        ApiKeys(SECRET).authenticate(sent, "::1")


def test_a_key_beyond_ascii_is_a_key_like_any_other() -> None:
    assert ApiKeys("ключ").authenticate("ключ", "").key_name == "default"


def test_keys_are_not_kept_as_they_are() -> None:
    assert SECRET not in repr(vars(ApiKeys(SECRET)))
