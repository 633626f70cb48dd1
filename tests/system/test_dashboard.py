"""The dashboard, used as people use it: in Chromium, against a gateway that really works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from gateway.settings import DEMO_KEY
from support.dashboard_kit import (
    ENDLESS,
    HOSTILE,
    HOSTILE_NAME,
    cancel,
    detail_of,
    give_key,
    jobs_of,
    states_of,
    submit,
    submitted_row,
    watched_page,
)
from support.live_gateway import LiveGateway

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
BREADTH = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
ASKED = """performance.getEntriesByType('resource')
  .filter((it) => it.name.includes('status=running')).map((it) => it.startTime)"""
# A dozen a minute: ten tabs may look at jobs within the limit of 120.
SELDOM_MS = 4900
GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture
def page(browser: Any, gateway: LiveGateway) -> Iterator[Any]:
    """The dashboard, with the key."""
    with watched_page(browser, gateway.url) as page:
        give_key(page)
        jobs_of(page).wait_for(state="attached")
        yield page


def test_a_job_is_submitted_and_watched_to_its_end(page: Any) -> None:
    clip = '"/Volumes/dmpfs/tc-east-1/00_Media/Farm/ProRes422/Farm00001.mov"'
    row = submit(page, clip, "01_VFX")
    row.get_by_text("Completed", exact=True).wait_for()
    row.get_by_text("241 of 241").wait_for()
    row.get_by_text("534.5 MB of 534.5 MB").wait_for()
    for bar in row.get_by_role("progressbar").all():
        assert bar.get_attribute("aria-valuenow") == "100"
    assert row.get_by_role("button", name="Cancel").count() == 0


def test_what_each_path_is_shows_before_anything_is_sent(page: Any) -> None:
    page.get_by_label("Files and folders").fill("01_VFX\nC:\\elsewhere\\a.mov\n../up")
    page.get_by_role("button", name="Check").click()
    shown = page.get_by_role("list", name="What the paths are").get_by_role("listitem")
    shown.filter(has_text="01_VFX").get_by_text("Folder").wait_for()
    shown.filter(has_text="../up").get_by_text("leads out of the filespace").wait_for()
    page.get_by_text("2 paths refused").wait_for()
    page.get_by_role("button", name="Cache the other 1").click()
    submitted_row(page).get_by_text("Completed", exact=True).wait_for()


def test_a_running_job_shows_its_speed_and_its_file_and_can_be_cancelled(page: Any) -> None:
    row = submit(page, ENDLESS)
    row.get_by_text("Running", exact=True).wait_for()
    row.get_by_text(re.compile(r"\d ([KMG]B|B).s$")).wait_for()
    row.get_by_text(re.compile(" left$")).wait_for()
    row.get_by_role("button", name="details").click()
    detail = detail_of(page)
    reading = detail.get_by_role("region", name="Files being read")
    reading.get_by_text(re.compile(r"long_\d+\.mov$")).first.wait_for()
    speeds = detail.get_by_role("img", name=re.compile(r"^Speed while watched: .*B.s"))
    speeds.wait_for()
    cancel(row)
    detail.get_by_text(re.compile("^⊘ Cancelled")).wait_for()
    detail.get_by_role("button", name="Close").click()
    assert row.get_by_role("button", name="details").evaluate("it => it === document.activeElement")


def test_a_job_that_is_watched_is_polled_seldom(page: Any) -> None:
    row = submit(page, ENDLESS)
    row.get_by_text("Running", exact=True).wait_for()
    row.get_by_role("button", name="details").click()
    for _ in range(2):
        with page.expect_response(re.compile("status=running")):
            pass
    asked = page.evaluate(ASKED)
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses and min(pauses) >= SELDOM_MS
    cancel(row)


def test_everything_works_by_keyboard_alone(page: Any) -> None:
    page.get_by_label("Files and folders").focus()
    page.keyboard.type(ENDLESS)
    page.keyboard.press("Control+Enter")
    # The focus is on the button that comes next.
    page.locator("#send:focus").wait_for()
    page.keyboard.press("Enter")
    row = submitted_row(page)
    row.get_by_text("Running", exact=True).wait_for()
    page.get_by_role("link", name="Skip to the jobs").focus()
    page.keyboard.press("Enter")
    tab_to(page, row.get_by_role("button", name="details"))
    page.keyboard.press("Enter")
    detail_of(page).wait_for()
    page.keyboard.press("Escape")
    detail_of(page).wait_for(state="hidden")
    tab_to(page, row.get_by_role("button", name="Cancel job"))
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    row.get_by_text("Cancelled", exact=True).wait_for()


def tab_to(page: Any, wanted: Any) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if wanted.evaluate("it => it === document.activeElement"):
            return
    raise AssertionError("the keyboard never got there")


def test_one_press_on_cancel_cancels_nothing(page: Any) -> None:
    row = submit(page, ENDLESS)
    button = row.get_by_role("button", name="Cancel job")
    button.click()
    row.get_by_role("button", name="Really cancel").wait_for()
    page.get_by_label("Files and folders").focus()
    button.wait_for()
    assert row.get_by_text("Cancelled", exact=True).count() == 0
    cancel(row)


def test_a_file_that_fails_is_named_and_its_name_stays_text(page: Any) -> None:
    row = submit(page, HOSTILE)
    row.get_by_text("Failed", exact=True).wait_for()
    row.get_by_text("1 failed", exact=True).wait_for()
    row.get_by_role("button", name="details").click()
    failed = detail_of(page).get_by_role("region", name="Failed files")
    failed.get_by_text(HOSTILE_NAME).wait_for()
    failed.get_by_text("No such file or directory").wait_for()
    page.get_by_role("button", name="With failures").click()
    row.wait_for()
    page.get_by_role("button", name="Completed").click()
    row.wait_for(state="detached")
    assert page.locator("img[src=x]").count() == 0
    assert "hacked" not in page.title()


def test_a_hostile_path_that_is_pasted_stays_text(page: Any) -> None:
    page.get_by_label("Files and folders").fill(f"../{HOSTILE_NAME}")
    page.get_by_role("button", name="Check").click()
    page.get_by_role("list", name="What the paths are").get_by_text(HOSTILE_NAME).wait_for()
    assert page.locator("img[src=x]").count() == 0


def test_without_the_key_metrics_show_and_jobs_ask_for_it(
    browser: Any, gateway: LiveGateway
) -> None:
    with watched_page(browser, gateway.url) as page:
        states = states_of(page)
        states.get_by_text("Database connected", exact=True).wait_for()
        states.get_by_text(re.compile(r"^S3 healthy · \d+ ms$")).wait_for()
        states.get_by_text(re.compile(r"^Backend · [\d.]+ MB.s$")).wait_for()
        page.get_by_role("img", name=re.compile(r"^S3 latency .*: \d+ ms")).wait_for()
        page.get_by_label("API key").wait_for()
        page.get_by_label("Files and folders").fill("01_VFX")
        page.get_by_role("button", name="Check").click()
        page.get_by_text("Caching needs the API key").wait_for()
        assert page.evaluate("document.activeElement.id") == "key"


def test_a_wrong_key_is_told_and_asked_for_again(browser: Any, gateway: LiveGateway) -> None:
    with watched_page(browser, gateway.url) as page:
        give_key(page, "not the key")
        page.get_by_role("alert").get_by_text("Invalid or missing API key").wait_for()
        give_key(page)
        page.get_by_role("group", name="Show jobs").wait_for()
        assert not page.get_by_label("API key").is_visible()


def test_the_key_stays_in_the_tab_and_can_be_forgotten(page: Any, gateway: LiveGateway) -> None:
    page.reload()
    page.get_by_role("group", name="Show jobs").wait_for()
    assert page.evaluate("localStorage.length") == 0
    assert page.evaluate("document.cookie") == ""
    other = page.context.new_page()
    other.goto(gateway.url)
    other.get_by_label("API key").wait_for()
    other.close()
    page.get_by_role("button", name="Forget key").click()
    page.get_by_label("API key").wait_for()
    assert DEMO_KEY not in page.evaluate("JSON.stringify(sessionStorage)")
    assert jobs_of(page).get_by_role("listitem").count() == 0


def test_a_lost_server_is_told_and_comes_back_with_what_was_missed(
    browser: Any, gateway: LiveGateway
) -> None:
    with watched_page(browser, gateway.url, may_fail=True) as page:
        give_key(page)
        row = submit(page, "02_Audio & Edit/Temp_100%")
        row.get_by_text("Completed", exact=True).wait_for()
        gateway.stop()
        page.get_by_text(re.compile("Connection lost. What you see is from")).wait_for()
        states_of(page).get_by_text("Disconnected", exact=True).wait_for()
        states_of(page).get_by_text("Database: not known", exact=True).wait_for()
        page.get_by_role("status").get_by_text("Connection lost").wait_for()
        row.wait_for()
        page.get_by_role("button", name="Retry now").click()
        page.get_by_text(re.compile("Connection lost. What you see is from")).wait_for()
        gateway.start()
        page.get_by_role("status").get_by_text("Connected again, and up to date").wait_for()
        states_of(page).get_by_text("Live", exact=True).wait_for()
        submit(page, "01_VFX").get_by_text("Completed", exact=True).wait_for()


def test_another_persons_job_appears_by_itself(
    browser: Any, page: Any, gateway: LiveGateway
) -> None:
    with watched_page(browser, gateway.url) as other:
        give_key(other)
        row = submit(other, "01_VFX")
        short = row.locator(".name").inner_text()
        theirs = jobs_of(page).get_by_role("listitem").filter(has_text=short)
        theirs.get_by_text("Completed", exact=True).wait_for()


def test_s3_that_goes_away_is_said_in_words(page: Any, gateway: LiveGateway) -> None:
    states_of(page).get_by_text(re.compile("^S3 healthy")).wait_for()
    gateway.s3.stop()
    states_of(page).get_by_text(re.compile("^S3 unhealthy: .+")).wait_for()
    page.get_by_role("img", name=re.compile("^S3 latency .*: failed")).wait_for()
    gateway.s3.start()
    states_of(page).get_by_text(re.compile("^S3 healthy")).wait_for()


def test_single_points_of_a_chart_can_be_read_by_keyboard(page: Any) -> None:
    chart = page.get_by_role("img", name=re.compile("^Throughput .*MB.s"))
    chart.wait_for()
    chart.focus()
    page.keyboard.press("Home")
    readout = page.locator("#throughput-chart output")
    readout.get_by_text(re.compile(r"^\d\d:\d\d:\d\d · .* MB.s$")).wait_for()


def test_a_phone_shows_everything_without_scrolling_sideways(
    browser: Any, gateway: LiveGateway
) -> None:
    with watched_page(browser, gateway.url, **PHONE) as page:
        give_key(page)
        page.get_by_text("Cache files").tap()
        row = submit(page, ENDLESS)
        assert_fits(page)
        assert_touchable(page)
        row.get_by_role("button", name="details").tap()
        detail_of(page).get_by_text(re.compile(r"long_\d+\.mov$")).first.wait_for()
        assert detail_of(page).evaluate("it => it.matches(':modal')")
        assert_fits(page)
        detail_of(page).get_by_role("button", name="Close").tap()
        cancel(row)


def assert_fits(page: Any) -> None:
    wide, window = page.evaluate(BREADTH)
    assert wide <= window


def assert_touchable(page: Any) -> None:
    for button in page.get_by_role("button").all():
        if button.is_visible() and "link" not in (button.get_attribute("class") or ""):
            small = button.bounding_box()["height"] < 44
            # A job's name is as large as its row: what lies over that takes the finger.
            assert not small or "name" in (button.get_attribute("class") or "")


@pytest.mark.parametrize(("scheme", "is_light"), [("light", True), ("dark", False)])
def test_it_is_as_light_or_dark_as_the_system(
    browser: Any, gateway: LiveGateway, scheme: str, is_light: bool
) -> None:
    with watched_page(browser, gateway.url, color_scheme=scheme) as page:
        brightness = [int(part) for part in re.findall(r"\d+", page.evaluate(GROUND))]
        assert (min(brightness) > 200) is is_light


def test_a_screen_reader_finds_its_way(page: Any) -> None:
    for role in ("banner", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1
    for name in ("Charts of the last 10 minutes", "Cache files", "Jobs"):
        assert page.get_by_role("region", name=name, exact=True).count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    for control in page.locator("button, input, textarea, svg[role], [role=progressbar]").all():
        assert control.evaluate(NAMED), control.evaluate("it => it.outerHTML")


NAMED = """it => Boolean(it.getAttribute('aria-label') || it.textContent.trim()
  || [...(it.labels ?? [])].some((label) => label.textContent.trim()))"""
