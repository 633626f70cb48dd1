"""What the dashboard makes of pasted paths, and of a submit that is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.dashboard_kit import give_key, jobs_of, submitted_row, watched_page, write_sparse
from support.live_gateway import LiveGateway

HOLLOW = "05_Hollow"
EMPTY = f"{HOLLOW}/nothing in it"
TRAILING = f"{HOLLOW}/reel 1.mov "
SUBMIT = "**/api/v1/cache/jobs"


@pytest.fixture
def page(browser: Any, gateway: LiveGateway) -> Iterator[Any]:
    """The dashboard, with the key; a folder without files, a name that ends with a blank."""
    (gateway.media / EMPTY).mkdir(parents=True, exist_ok=True)
    write_sparse(gateway.media / TRAILING, 100)
    with watched_page(browser, gateway.url, may_fail=True) as page:
        give_key(page)
        jobs_of(page).wait_for(state="attached")
        yield page


def check(page: Any, *lines: str) -> Any:
    """Paste lines and check them; gives the list of what they are."""
    page.get_by_label("Files and folders").fill("\n".join(lines))
    page.get_by_role("button", name="Check").click()
    shown = page.get_by_role("list", name="What the paths are")
    shown.wait_for()
    return shown


def test_after_an_empty_folder_is_refused_the_others_can_be_cached(page: Any) -> None:
    shown = check(page, EMPTY, f"{EMPTY}/", "01_VFX")
    page.get_by_role("button", name="Cache these").click()
    reason = "No files found in"
    page.locator("#submit-result").get_by_text(f"Nothing is cached. {reason}").wait_for()
    page.get_by_text("1 path can be cached. 2 paths refused.").wait_for()
    assert shown.locator(".refused").filter(has_text=reason).count() == 2
    assert shown.locator(".good").filter(has_text="01_VFX").count() == 1
    page.get_by_role("button", name="Cache the other 1").click()
    submitted_row(page).get_by_text("240 of 240").wait_for()


def test_where_every_path_is_refused_nothing_is_offered(page: Any) -> None:
    shown = check(page, EMPTY)
    page.get_by_role("button", name="Cache these").click()
    shown.locator(".refused").filter(has_text="No files found in").wait_for()
    assert not page.get_by_role("button", name="Cache").is_visible()
    assert page.get_by_label("Files and folders").input_value() == EMPTY


def test_another_answer_to_the_subfolders_takes_a_refusal_back(page: Any) -> None:
    shown = check(page, EMPTY)
    page.get_by_role("button", name="Cache these").click()
    shown.locator(".refused").wait_for()
    page.get_by_label("Include subfolders").click()
    shown.locator(".good").wait_for()
    page.get_by_role("button", name="Cache these").wait_for()


def test_a_refusal_of_none_of_the_paths_keeps_what_was_checked(page: Any) -> None:
    shown = check(page, "01_VFX")
    said = json.dumps({"success": False, "error": "Slow down"})
    page.route(SUBMIT, lambda route: route.fulfill(status=503, body=said))
    page.get_by_role("button", name="Cache these").click()
    page.locator("#submit-result").get_by_text("Slow down").wait_for()
    assert shown.locator(".good").count() == 1
    page.unroute(SUBMIT)
    page.get_by_role("button", name="Cache these").click()
    submitted_row(page)


def test_what_nobody_knows_is_not_counted_as_known(page: Any) -> None:
    shown = check(page, "01_VFX", "nowhere/at all.mov")
    page.get_by_text("1 known, 1 unknown to the index (it is tried).").wait_for()
    assert shown.locator(".unsure").filter(has_text="at all.mov").count() == 1
    assert page.get_by_text("can be cached").count() == 0


def test_blanks_around_a_name_are_sent_as_they_were_pasted(page: Any) -> None:
    lines = [" 01_VFX", TRAILING, '  "01_VFX"  ', "   ", "01_VFX\t"]
    with page.expect_request("**/resolve") as asked:
        shown = check(page, *lines)
    assert asked.value.post_data_json == {"paths": [" 01_VFX", TRAILING, "01_VFX", "01_VFX\t"]}
    shown.get_by_text("begins with a blank").wait_for()
    item = shown.get_by_role("listitem").filter(has_text="reel 1.mov")
    item.get_by_text("File").and_(item.get_by_text("ends with a blank")).wait_for()
