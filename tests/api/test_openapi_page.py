"""The page at /docs, in a real browser: it shows the API, wherever that is mounted."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.app import ROUTES, create_app
from gateway.handlers.api_docs import OUR_FILES, OURS, UI_FILES
from gateway.settings import Settings
from support.chromium import launch_chromium
from support.database import UNLIMITED, StartApi, change
from support.optional_programs import require_package

PATIENCE = 20_000
PREFIXES = ("", "/cache")
# The server and the browser are those of the module.
in_one_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=PREFIXES, ids=["alone", "mounted"]
)
async def address(request: pytest.FixtureRequest, shared_database: Settings) -> AsyncIterator[str]:
    """Where the gateway listens, by itself or under the prefix of a host."""
    app = create_app(change(shared_database, UNLIMITED))
    if request.param:
        host = web.Application()
        host.add_subapp(request.param, app)
        app = host
    async with TestServer(app) as server:
        yield str(server.make_url(request.param or "/")).rstrip("/")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    playwright = require_package("playwright.async_api")
    async with playwright.async_playwright() as tools:
        running = await launch_chromium(tools)
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Any, address: str) -> AsyncIterator[Any]:
    """The page; whatever went wrong in it, or was fetched from elsewhere, fails the test."""
    errors: list[str] = []
    asked: list[str] = []
    # A context of its own: no cache and no cookie of another test.
    async with await browser.new_context() as context:
        tab = await context.new_page()
        tab.set_default_timeout(PATIENCE)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda said: errors.append(said.text) if said.type != "log" else None)
        tab.on("request", lambda request: asked.append(request.url))
        await tab.goto(f"{address}/docs")
        yield tab
    assert errors == []
    assert [url for url in asked if not url.startswith((f"{address}/", "data:"))] == []


@in_one_loop
async def test_every_operation_is_shown(page: Any) -> None:
    for route in ROUTES:
        if not route.is_page:
            block = page.locator(f"#operations-{route.tag}-{route.operation_id}")
            await block.wait_for()
            shown = await block.inner_text()
            assert route.method in shown
            assert route.words[0] in shown
    assert await page.locator(".opblock").count() == len([r for r in ROUTES if not r.is_page])


@in_one_loop
async def test_a_request_can_be_tried(page: Any, address: str) -> None:
    block = page.locator("#operations-health-health_livez")
    await block.locator(".opblock-summary-control").click()
    await block.get_by_role("button", name="Try it out").click()
    async with page.expect_response(lambda response: response.url == f"{address}/livez") as told:
        await block.get_by_role("button", name="Execute").click()
    assert (await told.value).status == 200
    await block.locator(".live-responses-table").get_by_text('"alive"').wait_for()


@in_one_loop
async def test_a_shape_can_be_unfolded(page: Any) -> None:
    title = page.locator(".json-schema-2020-12__title", has_text="JobDetail")
    shape = page.locator(".models article").filter(has=title)
    await shape.get_by_role("button", name="Expand all").click()
    await shape.get_by_text("Of a running job, while samples come in.").wait_for()


@in_one_loop
async def test_another_document_cannot_be_shown_by_a_link(page: Any, address: str) -> None:
    await page.goto(
        f"{address}/docs?url=http://localhost:9/evil.json&configUrl=http://localhost:9/"
    )
    await page.locator("#operations-health-health_livez").wait_for()


async def test_nothing_inline_and_nothing_from_elsewhere_may_run(
    start_shared_api: StartApi,
) -> None:
    api = await start_shared_api()
    for path in ("/docs", "/docs/docs.js", "/docs/swagger-ui.css"):
        response = await api.get(path)
        policy = response.headers["Content-Security-Policy"]
        assert response.status == 200
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"https?:|\*", policy)


async def test_the_page_needs_no_key_and_is_asked_for_again(start_shared_api: StartApi) -> None:
    api = await start_shared_api()
    del api.session.headers["X-API-Key"]
    for path in ("/docs", *(f"/docs/{name}" for name in OUR_FILES | UI_FILES)):
        response = await api.get(path)
        assert response.status == 200
        tag = response.headers["ETag"]
        assert (await api.get(path, headers={"If-None-Match": tag})).status == 304


@pytest.mark.parametrize(
    "name",
    [
        "nothing.js",
        "docs.html",
        "swagger-ui.js",
        "..%2fdocs.html",
        "%2e%2e/docs.js",
        "docs.js%00",
        "DOCS.JS",
    ],
)
async def test_only_the_files_of_the_page_are_served(start_shared_api: StartApi, name: str) -> None:
    api = await start_shared_api()
    response = await api.get(f"/docs/{name}")
    assert (response.status, await response.json()) == (
        404,
        {"success": False, "error": "Not found"},
    )


def test_the_page_names_nothing_from_elsewhere() -> None:
    for file in OURS.iterdir():
        assert not re.search(r"https?://|src=\"//", file.read_text(encoding="utf-8")), file
