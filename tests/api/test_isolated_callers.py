"""With isolate_callers a key without admin has its own jobs, and there are no others."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.auth.callers import Scope
from gateway.settings import Settings
from support.database import StartApi
from support.index_rows import add_files, run
from support.key_kit import JOBS, known_to, make_key
from support.plans_kit import JOBS as QUERIES
from support.plans_kit import Plans, indexes, scanned
from support.stream_kit import listening

UNKNOWN = f"{JOBS}/7d3b3a52-3d3f-4a53-9c07-9c8b6f5e9a10"


class Two:
    """Two callers and an administrator at one gateway, each of the two with a job."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.headers: dict[str, dict[str, str]] = {}
        self.jobs: dict[str, str] = {}

    async def meet(self, settings: Settings, name: str, *scopes: Scope) -> None:
        usual = (Scope.JOBS_READ, Scope.JOBS_WRITE)
        secret = await make_key(settings, name, scopes or usual)
        self.headers[name] = await known_to(self.api, secret)

    async def submit(self, name: str) -> str:
        body = {"files": ["a/1.mov"]}
        response = await self.api.post(JOBS, json=body, headers=self.headers[name])
        self.jobs[name] = (await response.json())["jobId"]
        return self.jobs[name]

    async def ask(self, name: str, path: str, method: str = "GET") -> tuple[int, Any]:
        response = await self.api.request(method, path, headers=self.headers[name])
        return response.status, await response.json()

    async def listed(self, name: str, query: str = "") -> tuple[set[str], int]:
        _status, answer = await self.ask(name, f"{JOBS}{query}")
        return {job["id"] for job in answer["jobs"]}, answer["total"]


@pytest.fixture
async def two(start_api: StartApi, database_settings: Settings) -> Two:
    add_files(database_settings, ["a/1.mov"])
    two = Two(await start_api(isolate_callers=True))
    for name in ("anna", "ben"):
        await two.meet(database_settings, name)
        await two.submit(name)
    await two.meet(database_settings, "root", Scope.ADMIN)
    return two


async def test_lists_and_totals_are_of_the_callers_own_jobs(two: Two) -> None:
    for name in ("anna", "ben"):
        for query in ("", "?status=pending", "?limit=1"):
            assert await two.listed(name, query) == ({two.jobs[name]}, 1)
        assert await two.listed(name, "?offset=1") == (set(), 1)
        assert await two.listed(name, "?status=running") == (set(), 0)
    assert await two.listed("root") == (set(two.jobs.values()), 2)


async def test_anothers_job_is_as_one_that_never_was(two: Two) -> None:
    theirs = f"{JOBS}/{two.jobs['ben']}"
    for method, end in (("GET", ""), ("GET", "/files"), ("DELETE", "")):
        expected = await two.ask("anna", f"{UNKNOWN}{end}", method)
        assert expected[0] == 404
        # Whoever is entitled puts it into the cache of polls first.
        assert (await two.ask("ben", theirs))[0] == 200
        assert await two.ask("anna", f"{theirs}{end}", method) == expected
    assert (await two.ask("ben", theirs))[1]["job"]["status"] == "pending"


async def test_a_known_tag_tells_nothing_of_anothers_job(two: Two) -> None:
    path = f"{JOBS}/{two.jobs['ben']}"
    tag = (await two.api.get(path, headers=two.headers["ben"])).headers["ETag"]
    for sent in (tag, "*"):
        asked = {**two.headers["anna"], "If-None-Match": sent}
        assert (await two.api.get(path, headers=asked)).status == 404


async def test_own_jobs_are_seen_and_cancelled_and_an_administrator_reaches_all(two: Two) -> None:
    mine = f"{JOBS}/{two.jobs['anna']}"
    for end in ("", "/files"):
        assert (await two.ask("anna", f"{mine}{end}"))[0] == 200
    assert (await two.ask("anna", mine, "DELETE"))[0] == 200
    assert (await two.ask("root", f"{JOBS}/{two.jobs['ben']}", "DELETE"))[0] == 200


async def test_jobs_of_nobodys_key_are_the_administrators(
    two: Two, database_settings: Settings
) -> None:
    run(database_settings, "UPDATE cache_jobs SET submitted_by = NULL")
    assert await two.listed("anna") == (set(), 0)
    assert len((await two.listed("root"))[0]) == 2


async def test_without_the_setting_everybody_sees_all_jobs(
    start_api: StartApi, database_settings: Settings
) -> None:
    add_files(database_settings, ["a/1.mov"])
    two = Two(await start_api())
    for name in ("anna", "ben"):
        await two.meet(database_settings, name)
        await two.submit(name)
    assert (await two.listed("anna"))[1] == 2
    assert (await two.ask("anna", f"{JOBS}/{two.jobs['ben']}", "DELETE"))[0] == 200


async def test_the_stream_tells_of_own_jobs_only(two: Two) -> None:
    async with (
        listening(two.api, headers=two.headers["anna"]) as anna,
        listening(two.api, headers=two.headers["root"]) as root,
    ):
        snapshot = await anna.subscribe(channel="jobs")
        assert [job["id"] for job in snapshot["jobs"]] == [two.jobs["anna"]]
        assert len((await root.subscribe(channel="jobs"))["jobs"]) == 2
        theirs, mine = await two.submit("ben"), await two.submit("anna")
        await two.ask("root", f"{JOBS}/{theirs}", "DELETE")
        await two.ask("anna", f"{JOBS}/{mine}", "DELETE")
        while "job-cancelled" not in anna.events_of(mine):
            await anna.next()
        await anna.sync()
        assert anna.events_of(theirs) == []
        while "job-cancelled" not in root.events_of(theirs):
            await root.next()
        await anna.ask(type="unsubscribe", channel="jobs")
        await anna.next_of("unsubscribed")
        last = await two.submit("anna")
        while not root.events_of(last):
            await root.next()
        await anna.sync()
        assert anna.events_of(last) == []


async def test_nobody_follows_anothers_job(two: Two) -> None:
    async with listening(two.api, headers=two.headers["anna"]) as anna:
        await anna.ask(type="subscribe", channel="job", jobId=two.jobs["ben"], files=True)
        assert await anna.error() == "Job not found"
        await anna.ask(type="subscribe", channel="job", jobId=UNKNOWN.rpartition("/")[2])
        assert await anna.error() == "Job not found"
        await anna.subscribe(channel="job", jobId=two.jobs["anna"], files=True)
        await two.ask("ben", f"{JOBS}/{two.jobs['ben']}", "DELETE")
        await two.ask("anna", f"{JOBS}/{two.jobs['anna']}", "DELETE")
        await anna.next_of("job-cancelled")
        await anna.sync()
        assert anna.events_of(two.jobs["ben"]) == []


async def test_who_shows_another_key_is_told_no_more_of_what_the_first_could_see(two: Two) -> None:
    async with listening(two.api, headers=two.headers["root"]) as listener:
        await listener.subscribe(channel="jobs")
        await listener.ask(type="auth", apiKey=two.headers["anna"]["X-API-Key"])
        await listener.next_of("authenticated")
        theirs = await two.submit("ben")
        await two.ask("ben", f"{JOBS}/{theirs}", "DELETE")
        async with listening(two.api, headers=two.headers["root"]) as root:
            await root.subscribe(channel="job", jobId=theirs)
        await listener.sync()
        assert listener.events_of(theirs) == []


def test_a_callers_jobs_are_found_without_reading_everybodys(plans: Plans) -> None:
    asked = {"status": None, "limit": 50, "offset": 0, "submitted_by": "anna"}
    first = (
        "UPDATE cache_jobs SET submitted_by = 'ben';"
        "UPDATE cache_jobs SET submitted_by = 'anna' WHERE created_at < '2026-01-01 00:20';"
        "ANALYZE cache_jobs"
    )
    for query in ("list", "page"):
        for status in (None, "completed"):
            nodes = plans.explain(QUERIES[query], {**asked, "status": status}, first=first)
            assert scanned(nodes) == set()
            assert indexes(nodes) == {"teamcache_gateway_cache_jobs_submitted_by"}
