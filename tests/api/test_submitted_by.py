"""Whose key submitted a job: kept with it, and shown wherever the job is."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import GatewayClient
from gateway.auth.api_keys import ApiKeys
from gateway.auth.callers import EVERYTHING, Caller
from gateway.database.migrations import migrate
from gateway.http.app_keys import JOB_CACHE
from gateway.settings import Settings
from support.database import StartApi, make_starter
from support.index_rows import add_files, make_job, run
from support.manager_schema import JOB_ID, make_manager_database
from support.manager_use import use_gateway
from support.stream_kit import listening

JOBS = "/api/v1/cache/jobs"


@pytest.fixture
async def job_id(api: Any, database_settings: Settings) -> str:
    add_files(database_settings, ["a/1.mov"])
    response = await api.post(JOBS, json={"directories": ["a"]})
    identifier: str = (await response.json())["jobId"]
    return identifier


async def test_a_job_shows_the_key_that_submitted_it(api: Any, job_id: str) -> None:
    job = (await (await api.get(f"{JOBS}/{job_id}")).json())["job"]
    [listed] = (await (await api.get(JOBS)).json())["jobs"]
    assert job["submittedBy"] == listed["submittedBy"] == "default"


async def test_the_name_is_that_of_the_key_and_not_a_constant(
    start_api: StartApi, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = 'A "studio" – 日本'

    def authenticate(_keys: ApiKeys, _sent: str | None, address: str, **_where: bool) -> Caller:
        return Caller(name, address, EVERYTHING)

    monkeypatch.setattr(ApiKeys, "authenticate", authenticate)
    add_files(database_settings, ["a/1.mov"])
    api = await start_api()
    await api.post(JOBS, json={"files": ["a/1.mov"]})
    [listed] = (await (await api.get(JOBS)).json())["jobs"]
    assert listed["submittedBy"] == name


async def test_snapshots_show_it(api: Any, job_id: str, database_settings: Settings) -> None:
    unknown = make_job(database_settings)
    async with listening(api) as listener:
        snapshot = await listener.subscribe(channel="jobs")
        shown = {job["id"]: job["submittedBy"] for job in snapshot["jobs"]}
        assert shown == {job_id: "default", unknown: None}
        snapshot = await listener.subscribe(channel="job", jobId=job_id)
        assert snapshot["job"]["submittedBy"] == "default"


async def test_the_client_shows_it(api: Any, job_id: str, database_settings: Settings) -> None:
    key = database_settings.api_gateway_key.get_secret_value()
    async with GatewayClient(str(api.make_url("/")), api_key=key) as client:
        assert (await client.status(job_id)).submitted_by == "default"
        [listed], _total = await client.jobs()
        assert listed.submitted_by == "default"
        run(database_settings, "UPDATE cache_jobs SET submitted_by = NULL")
        # Nobody announces this.
        api.server.app[JOB_CACHE].drop(job_id)
        assert (await client.status(job_id)).submitted_by is None


async def test_of_the_managers_own_jobs_it_is_not_known(
    empty_database: Settings, aiohttp_client: Any
) -> None:
    make_manager_database(empty_database, owner=empty_database.db_user, with_sizes=True)
    await migrate(empty_database)
    await use_gateway(empty_database)
    api = await make_starter(aiohttp_client, empty_database)()
    job = (await (await api.get(f"{JOBS}/{JOB_ID}")).json())["job"]
    assert job["submittedBy"] is None


async def test_who_submitted_is_not_asked_of_the_caller(api: Any) -> None:
    response = await api.post(JOBS, json={"files": ["a"], "submittedBy": "somebody"})
    assert response.status == 400
    assert "Unknown field: submittedBy" in (await response.json())["error"]
