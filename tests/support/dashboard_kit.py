"""The dashboard in a real browser, in front of a gateway that really runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from bench.free_ports import free_port
from gateway.settings import DEMO_KEY, Settings
from support import ROOT
from support.chromium import launch_chromium
from support.live_gateway import LiveGateway, running_gateway
from support.optional_programs import require_package
from support.programs import started, variables

PATIENCE = 20_000
ENDLESS = "03_Endless"
HOSTILE = "04_Hostile"
HOSTILE_NAME = "<img src=x onerror=document.title='hacked'>.mov"
# They take minutes to read at any speed, and no room; none of them holds up the reader for long.
ENDLESS_FILES, ENDLESS_BYTES = 2000, 96 << 20
UNLIMITED = {"RATE_LIMIT_PER_MINUTE": "0", "POLL_LIMIT_PER_MINUTE": "0"}
# What Chromium itself says when a server is gone, or answers with an error that a test wants.
NETWORK = re.compile(r"Failed to load resource|WebSocket connection to .* failed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = require_package("playwright.sync_api")
    with playwright.sync_playwright() as tools:
        running = launch_chromium(tools)
        yield running
        running.close()


@pytest.fixture(scope="module")
def gateway(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    folder = tmp_path_factory.mktemp("dashboard")
    for number in range(ENDLESS_FILES):
        write_sparse(folder / "media" / ENDLESS / f"long_{number:04}.mov", ENDLESS_BYTES)
    write_sparse(folder / "media" / HOSTILE / HOSTILE_NAME, 100)
    with running_gateway(folder, **UNLIMITED) as live:
        (live.media / HOSTILE / HOSTILE_NAME).unlink()
        yield live


@pytest.fixture
def mounted(database_settings: Settings, tmp_path: Path) -> Iterator[str]:
    """The URL of another application that has the gateway under a prefix."""
    port = free_port()
    example = ROOT / "examples" / "embed.py"
    environ = variables(database_settings, PORT=str(port))
    with started(example, environ=environ, folder=tmp_path) as service:
        service.wait_for("Running on")
        url = f"http://127.0.0.1:{port}/cache"
        while requests.get(f"{url}/api/v1/health", timeout=30).status_code != 200:
            pass
        yield url


def write_sparse(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


@contextmanager
def watched_page(
    browser: Any, url: str, *, may_fail: bool = False, **options: Any
) -> Iterator[Any]:
    """A page at ``url``. Whatever it says on its console fails the test, as does a breach of its
    policy. ``may_fail``: its requests may.
    """
    said: list[str] = []
    context = browser.new_context(**({"viewport": {"width": 1440, "height": 900}} | options))
    context.add_init_script(
        "addEventListener('securitypolicyviolation',"
        " (breach) => console.error('CSP', breach.violatedDirective))"
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda line: said.append(f"{line.text} {line.location['url']}"))
    page.goto(url)
    yield page
    context.close()
    assert [line for line in said if not (may_fail and NETWORK.search(line))] == []


def give_key(page: Any, key: str = DEMO_KEY) -> None:
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")


def jobs_of(page: Any) -> Any:
    return page.get_by_role("list", name="Jobs, newest first")


def detail_of(page: Any) -> Any:
    return page.get_by_role("dialog", name=re.compile("^Job "))


def submit(page: Any, *paths: str) -> Any:
    """Submit paths as somebody does it; gives the row of the new job."""
    page.get_by_label("Files and folders").fill("\n".join(paths))
    page.get_by_role("button", name="Check").click()
    page.get_by_role("button", name="Cache these").click()
    return submitted_row(page)


def submitted_row(page: Any) -> Any:
    """The row of the job that was just submitted."""
    told = page.get_by_text(re.compile(r"^Job [0-9a-f]{8}: "))
    told.wait_for()
    short = told.inner_text().split()[1].rstrip(":")
    row = jobs_of(page).get_by_role("listitem").filter(has_text=short)
    row.wait_for()
    return row


def cancel(row: Any) -> None:
    row.get_by_role("button", name=re.compile("^Cancel job")).click()
    row.get_by_role("button", name=re.compile("^Really cancel")).click()
    row.get_by_text("Cancelled", exact=True).wait_for()


def states_of(page: Any) -> Any:
    return page.get_by_role("list", name="State of the system")
