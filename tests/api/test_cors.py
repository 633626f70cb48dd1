"""Pages of other origins: what a browser asks before and what it is told after."""

from __future__ import annotations

from typing import Any

import pytest

from support.database import StartApi

JOBS = "/api/v1/cache/jobs"
JOB = f"{JOBS}/6bb4629b-1487-477c-96fe-b762d82a099b"
OURS = "https://dashboard.example"
THEIRS = "https://evil.example"
EXPOSED = {
    *("ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After"),
    *("WWW-Authenticate", "X-Request-ID"),
}


@pytest.fixture
async def api(start_shared_api: StartApi) -> Any:
    """An API that pages of any origin may call."""
    return await start_shared_api()


@pytest.fixture
async def restricted(start_shared_api: StartApi) -> Any:
    """An API that pages of one origin may call."""
    return await start_shared_api(cors_origins=(OURS,))


def preflight(method: str, origin: str = OURS) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,x-api-key",
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", JOBS),
        ("GET", JOBS),
        ("GET", JOB),
        ("DELETE", JOB),
        ("GET", "/api/v1/metrics"),
        ("GET", "/api/v1/health"),
    ],
)
async def test_a_browser_may_ask_whether_it_may_ask(api: Any, method: str, path: str) -> None:
    response = await api.options(path, headers=preflight(method, "https://any.example"))
    assert response.status == 200
    headers = response.headers
    assert headers["Access-Control-Allow-Origin"] in ("*", "https://any.example")
    assert method in headers["Access-Control-Allow-Methods"]
    allowed = headers["Access-Control-Allow-Headers"].lower()
    assert {"content-type", "x-api-key"} <= set(allowed.split(","))
    assert int(headers["Access-Control-Max-Age"]) > 0


async def test_asking_needs_no_key(api: Any) -> None:
    del api.session.headers["X-API-Key"]
    assert (await api.options(JOBS, headers=preflight("POST"))).status == 200


@pytest.mark.parametrize("key", ["demo-api-key-2024", "wrong"])
@pytest.mark.parametrize("path", [JOBS, JOB, f"{JOBS}/123", "/api/v1/health"])
async def test_answers_and_errors_can_be_read_by_a_page(api: Any, path: str, key: str) -> None:
    response = await api.get(path, headers={"Origin": OURS, "X-API-Key": key})
    assert response.headers["Access-Control-Allow-Origin"] in ("*", OURS)
    exposed = response.headers["Access-Control-Expose-Headers"]
    assert {name.strip() for name in exposed.split(",")} >= EXPOSED


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("PUT", JOBS)])
async def test_even_what_does_not_exist_can_be_read_by_a_page(
    api: Any, method: str, path: str
) -> None:
    response = await api.request(method, path, headers={"Origin": OURS})
    assert response.status in (404, 405)
    assert response.headers["Access-Control-Allow-Origin"] in ("*", OURS)


async def test_no_page_ever_sends_credentials(api: Any) -> None:
    for response in (
        await api.options(JOBS, headers=preflight("POST")),
        await api.get(JOBS, headers={"Origin": OURS}),
    ):
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_pages_of_a_configured_origin_may_call(restricted: Any) -> None:
    response = await restricted.options(JOBS, headers=preflight("POST"))
    assert response.headers["Access-Control-Allow-Origin"] == OURS
    response = await restricted.get(JOBS, headers={"Origin": OURS})
    assert response.headers["Access-Control-Allow-Origin"] == OURS


async def test_pages_of_other_origins_may_not(restricted: Any) -> None:
    response = await restricted.options(JOBS, headers=preflight("POST", THEIRS))
    assert response.status == 403
    assert "Access-Control-Allow-Origin" not in response.headers
    response = await restricted.get(JOBS, headers={"Origin": THEIRS})
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("origin", [OURS, THEIRS, None])
@pytest.mark.parametrize("path", [JOBS, "/nowhere", "/api/v1/health"])
async def test_caches_are_told_that_the_origin_matters(
    restricted: Any, path: str, origin: str | None
) -> None:
    response = await restricted.get(path, headers={"Origin": origin} if origin else {})
    assert "origin" in response.headers["Vary"].lower()


async def test_caches_are_told_so_of_preflights_too(restricted: Any) -> None:
    for origin in (OURS, THEIRS):
        response = await restricted.options(JOBS, headers=preflight("POST", origin))
        assert "origin" in response.headers["Vary"].lower()


@pytest.mark.parametrize(
    "headers",
    [{"Origin": OURS}, preflight("POST", THEIRS)],
    ids=["no method", "another origin"],
)
async def test_an_options_request_that_is_refused_is_answered_in_json(
    restricted: Any, headers: dict[str, str]
) -> None:
    response = await restricted.options(JOBS, headers=headers)
    body = await response.json()
    assert 400 <= response.status < 500
    assert set(body) == {"success", "error"}
    assert body["success"] is False
    assert "\n" not in body["error"]
    assert "X-Request-ID" in response.headers


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (JOBS, "GET, OPTIONS, POST"),
        (JOB, "DELETE, GET, OPTIONS"),
        ("/livez", "GET, HEAD, OPTIONS"),
    ],
)
async def test_who_is_no_page_is_told_what_may_be_done(
    restricted: Any, path: str, allowed: str
) -> None:
    response = await restricted.options(path)
    assert (response.status, response.headers["Allow"]) == (204, allowed)
    assert "X-Request-ID" in response.headers
    assert (await restricted.options("/nowhere")).status == 404


@pytest.mark.parametrize("path", ["/livez", "/api/v1/health", "/", "/docs", "/api/v1/openapi.json"])
async def test_what_anybody_may_read_can_be_asked_for_without_its_body(api: Any, path: str) -> None:
    del api.session.headers["X-API-Key"]
    whole, head = await api.get(path), await api.head(path)
    assert (head.status, await head.read()) == (whole.status, b"") == (200, b"")
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]
    assert head.headers["Content-Length"] == str(len(await whole.read()))
    assert (await api.head(JOBS)).status == 405
