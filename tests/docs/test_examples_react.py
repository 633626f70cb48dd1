"""The React dashboard, in a real browser, shows what a running gateway measures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.free_ports import free_port
from support.dashboard_kit import PATIENCE
from support.example_tools import EXAMPLES, copy_with_packages, listed_examples, running_example
from support.live_gateway import LiveGateway, running_gateway

DASHBOARD = "react/MetricsDashboard.js"


@pytest.fixture(scope="module")
def react(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_with_packages("react", tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def gateway(react: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with running_gateway(tmp_path_factory.mktemp("live")) as live:
        yield live


@pytest.fixture(scope="module")
def page_url(react: Path, gateway: LiveGateway) -> Iterator[str]:
    """Where the README's own command serves the page, told of our gateway."""
    port = free_port()
    with running_example(DASHBOARD, gateway, react, replace=("8000", str(port)),
                         PYTHONUNBUFFERED="1") as output:  # fmt: skip
        output.wait_for(r"Serving HTTP on .*")
        yield f"http://localhost:{port}/?ws=ws://localhost:{gateway.port}/ws"


@pytest.fixture
def page(browser: Any, page_url: str) -> Iterator[Any]:
    """The page; whatever went wrong in it fails the test."""
    errors: list[str] = []
    tab = browser.new_page(viewport={"width": 600, "height": 480})
    tab.set_default_timeout(PATIENCE)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    tab.goto(page_url)
    yield tab
    tab.close()
    assert errors == []


def throughput(page: Any) -> Any:
    return page.get_by_role("region", name="Throughput")


def s3(page: Any) -> Any:
    return page.get_by_role("region", name="S3 health")


def test_the_throughput_shown_changes_with_the_backends(
    page: Any, gateway: LiveGateway, tmp_path: Path
) -> None:
    gateway.backend.mibps = 25.6
    throughput(page).get_by_text("25.60 MB/s", exact=True).wait_for()
    s3(page).get_by_text("Status: ✓ Healthy", exact=True).wait_for()
    picture = tmp_path / "dashboard.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 1000
    gateway.backend.mibps = 130.25
    throughput(page).get_by_text("130.25 MB/s", exact=True).wait_for()
    assert throughput(page).get_by_text("25.60 MB/s").count() == 0


def test_the_latency_shown_is_the_one_that_s3_has(page: Any, gateway: LiveGateway) -> None:
    latency = s3(page).get_by_text(re.compile(r"^Latency: \d+ ms$"))
    latency.wait_for()
    s3(page).get_by_text(re.compile(r"^Average: \d+ ms$")).wait_for()
    shown = int(latency.inner_text().split()[1])
    assert shown in gateway.get("/metrics/s3")["s3Health"]["latencyHistory"]
    with gateway.s3.frozen():
        page.wait_for_timeout(800)
    # A check had to wait for S3 to go on: that shows in the average of three.
    s3(page).get_by_text(re.compile(r"^Average: [1-9]\d{2,} ms$")).wait_for()


def test_s3_going_away_and_coming_back_shows(page: Any, gateway: LiveGateway) -> None:
    s3(page).get_by_text("Status: ✓ Healthy").wait_for()
    gateway.s3.stop()
    s3(page).get_by_text("Status: ✗ Unhealthy", exact=True).wait_for()
    s3(page).get_by_text("Latency: –", exact=True).wait_for()
    gateway.s3.start()
    s3(page).get_by_text("Status: ✓ Healthy", exact=True).wait_for()


def test_before_anything_was_measured_nothing_is_claimed(browser: Any, page_url: str) -> None:
    tab = browser.new_page()
    # Port 9 is refused by browsers: the figures never come.
    tab.goto(page_url.partition("?")[0] + "?ws=ws://localhost:9/ws")
    tab.get_by_text("0.00 MB/s", exact=True).wait_for()
    tab.get_by_text("Status: not known", exact=True).wait_for()
    tab.close()


def test_the_page_loads_nothing_from_elsewhere() -> None:
    assert DASHBOARD in listed_examples()
    for file in (EXAMPLES / "react").glob("*.*"):
        addresses = re.findall(r"(?:https?|wss?)://([\w.-]+)", file.read_text(encoding="utf-8"))
        assert set(addresses) <= {"localhost", "gateway.example", "github.com"}, file
