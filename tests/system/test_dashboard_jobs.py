"""What the dashboard shows of jobs: in a list that is longer than it shows, and one in full."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.settings import Settings
from support.dashboard_kit import (
    ENDLESS,
    cancel,
    detail_of,
    give_key,
    jobs_of,
    submit,
    watched_page,
)
from support.index_rows import run
from support.live_gateway import LiveGateway

LISTED, ALL = 1000, 1200
OLD_JOBS = """
INSERT INTO cache_jobs (id, status, file_paths, directory_paths, total_files, total_size_bytes,
                        submitted_by)
SELECT gen_random_uuid(), 'pending', '{}', '{}', 10, 1000, 'default' FROM generate_series(1, %s)
"""
JOB = """
INSERT INTO cache_jobs (id, status, file_paths, directory_paths, total_files, completed_files,
                        failed_files, total_size_bytes, completed_size_bytes, submitted_by,
                        created_at)
VALUES (%s, 'completed', '{}', '{}', 10000, 2500, 7500, 1000, 1000, %s,
        now() - make_interval(days => %s))
"""
SIDE = {"viewport": {"width": 1280, "height": 800}}
COVERED = """([a, b]) => {
  const [one, other] = [a, b].map((id) => document.querySelector(id).getBoundingClientRect());
  return one.bottom > other.top && other.bottom > one.top && one.right > other.left
    && other.right > one.left;
}"""
CUT = "it => it.scrollWidth > it.clientWidth"
FIND = "Find a job by its id"


@pytest.fixture
def page(browser: Any, gateway: LiveGateway) -> Iterator[Any]:
    """The dashboard, with the key, as wide as a laptop."""
    with watched_page(browser, gateway.url, **SIDE) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        give_key(page)
        jobs_of(page).wait_for(state="attached")
        yield page


def test_a_list_that_is_cut_off_says_of_how_many_and_older_jobs_are_found(
    browser: Any, mounted: str, database_settings: Settings
) -> None:
    old = str(uuid.uuid4())
    run(database_settings, JOB, old, "default", 9)
    run(database_settings, OLD_JOBS, ALL - 1)
    with watched_page(browser, mounted, may_fail=True) as page:
        give_key(page)
        page.get_by_text(f"The newest {LISTED:,} of {ALL:,} jobs are shown.").wait_for()
        page.get_by_role("button", name=f"Newest {LISTED:,}").wait_for()
        find(page, old[:8])
        page.get_by_text("enter its full id").wait_for()
        find(page, str(uuid.uuid4()))
        page.get_by_text("Not found. Job not found").wait_for()
        find(page, f" {old.upper()} ")
        detail = detail_of(page)
        detail.get_by_text(old, exact=True).wait_for()
        detail.get_by_text("Completed, 7,500 failed · 100 % (mean of files and bytes)").wait_for()
        # It is none of the newest ones, nor has it driven one of them out.
        assert page.locator(f".row[title='{old}']").count() == 0
        detail.get_by_role("button", name="Close").click()
        assert page.get_by_label(FIND).evaluate("it => it === document.activeElement")


def test_a_job_that_the_list_shows_is_found_by_its_short_id(page: Any) -> None:
    row = submit(page, "01_VFX")
    row.get_by_text("Completed", exact=True).wait_for()
    find(page, row.locator(".name").inner_text())
    detail_of(page).get_by_text(row.get_attribute("title"), exact=True).wait_for()


def find(page: Any, text: str) -> None:
    page.get_by_label(FIND).fill(text)
    page.get_by_label(FIND).press("Enter")


@pytest.mark.parametrize("width", [1440, 1280, 1120, 700, 360])
def test_a_completed_job_with_failed_files_says_so_in_full(
    browser: Any, mounted: str, database_settings: Settings, width: int
) -> None:
    run(database_settings, JOB, str(uuid.uuid4()), "default", 0)
    with watched_page(browser, mounted, viewport={"width": width, "height": 800}) as page:
        give_key(page)
        row = page.locator(".row")
        row.get_by_text("Completed, 7,500 failed").wait_for()
        assert row.locator(".sign").inner_text().startswith("⚠")
        box, state = row.bounding_box(), row.locator(".trouble").bounding_box()
        assert box["x"] <= state["x"] and state["x"] + state["width"] <= box["x"] + box["width"]
        assert not any(words.evaluate(CUT) for words in row.locator(".words").all())
        page.get_by_role("button", name="With failures 1").click()
        row.get_by_role("button", name="details").click()
        detail_of(page).get_by_text("Completed, 7,500 failed · 100 %").wait_for()
        assert not detail_of(page).evaluate(CUT)
        detail_of(page).get_by_role("button", name="Copy id").click(trial=True)


def test_the_only_key_is_not_named_until_there_is_another(
    browser: Any, mounted: str, database_settings: Settings
) -> None:
    run(database_settings, JOB, str(uuid.uuid4()), "default", 1)
    with watched_page(browser, mounted) as page:
        give_key(page)
        page.locator(".row").wait_for()
        assert not page.get_by_text("default", exact=True).is_visible()
        run(database_settings, JOB, str(uuid.uuid4()), "Anna", 0)
        page.get_by_text("Anna", exact=True).wait_for()
        page.get_by_text("default", exact=True).wait_for()


def test_the_whole_id_can_be_copied(page: Any) -> None:
    row = submit(page, "01_VFX")
    whole = row.get_attribute("title")
    row.get_by_role("button", name="details").click()
    detail_of(page).get_by_role("button", name="Copy id").click()
    detail_of(page).get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == whole


def test_the_whole_id_can_be_copied_where_the_clipboard_is_out_of_reach(page: Any) -> None:
    whole = submit(page, "01_VFX").get_attribute("title")
    page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(Error()))")
    jobs_of(page).locator(f"[title='{whole}']").get_by_role("button", name="details").click()
    detail_of(page).get_by_role("button", name="Copy id").click()
    detail_of(page).get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == whole


def test_an_open_job_covers_nothing_of_the_form(page: Any) -> None:
    row = submit(page, ENDLESS)
    paths = page.get_by_label("Files and folders")
    paths.fill("half typed")
    row.get_by_role("button", name="details").click()
    detail_of(page).wait_for()
    assert not paths.is_visible()
    assert not page.evaluate(COVERED, ["#submit", "#detail"])
    page.locator("#submit > summary").click()
    assert paths.input_value() == "half typed"
    assert not page.evaluate(COVERED, ["#submit", "#detail"])
    detail_of(page).get_by_role("button", name="Close").click()
    assert paths.is_visible()
    cancel(row)


def test_rates_are_written_in_one_way(page: Any, gateway: LiveGateway) -> None:
    before, gateway.backend.mibps = gateway.backend.mibps, 4024.0
    try:
        page.get_by_text("Backend · 3.9 GB/s").wait_for()
        page.get_by_role("img", name=re.compile(r"^Throughput .* peak 3\.9 GB.s")).wait_for()
        assert page.locator("#throughput-chart text").all_text_contents()[:3] == [
            "0",
            "2 GB",
            "4 GB",
        ]
    finally:
        gateway.backend.mibps = before


def test_an_end_more_than_a_year_away_is_not_shown(page: Any) -> None:
    left = """async (bytes) => {
      const { secondsLeft } = await import('./dashboard/jobs.js');
      const job = { status: 'running', track: [], startedAt: 1, totalBytes: 1e13, bytes };
      return secondsLeft(job, 30_001, 30_001);
    }"""
    assert [page.evaluate(left, size) for size in (1, 1e12)] == [None, 270]
