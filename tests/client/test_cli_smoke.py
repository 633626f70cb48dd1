"""``smoke``, against a gateway on which all works, and against ones on which something does not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.client import GatewayClient
from gateway.settings import Settings
from support.cli_kit import Answering, User
from support.client_server import KEY, Server, quiet_port
from support.database import change
from support.index_rows import add_files
from support.worker_kit import query

OPTIONAL = {
    "GET /api/v1/cache/jobs/{id}/files", "POST /api/v1/paths/resolve", "GET /api/v1/openapi.json",
    "GET /docs", "GET / (dashboard)",
}  # fmt: skip


@pytest.fixture
async def settings(database_settings: Settings) -> Any:
    """A gateway's, with the limits that it has by default."""
    own = {"api_gateway_key": KEY, "api_gateway_port": quiet_port()}
    settings = change(database_settings, own)
    server = Server(settings)
    await server.start()
    yield settings
    await server.stop()


@pytest.fixture
def user(settings: Settings, tmp_path: Path) -> User:
    return User(f"http://127.0.0.1:{settings.api_gateway_port}", tmp_path)


def count_jobs(settings: Settings) -> int:
    [row] = query(settings, "SELECT count(*) AS n FROM cache_jobs")
    return int(row.n)


async def test_all_works_and_nothing_is_created(user: User, settings: Settings) -> None:
    done = await user.run("smoke", "--json")
    assert done.code == 0, done.output
    shown = done.json()
    outcomes = {one["name"]: one["outcome"] for one in shown["checks"]}
    assert shown["works"] is True
    assert {outcomes[name] for name in OPTIONAL} <= {"works", "not offered", "not tried"}
    # There is no job to look at.
    assert outcomes.pop("GET /api/v1/cache/jobs/{id}") == "not tried"
    assert outcomes.pop("GET /api/v1/cache/jobs/{id} with its ETag") == "not tried"
    assert {outcomes[name] for name in outcomes.keys() - OPTIONAL} == {"works"}
    assert count_jobs(settings) == 0


async def test_a_trial_job_is_submitted_watched_and_cancelled(
    user: User, settings: Settings
) -> None:
    add_files(settings, {"a/1.exr": 5})
    async with GatewayClient(user.url, KEY) as client:
        await client.submit(files=["a/1.exr"])
    done = await user.run("smoke", "--submit", "a")
    assert done.code == 0, done.output
    lines = done.output.splitlines()
    assert lines[-1] == "All that is offered works."
    assert all(re.match(r"✓ works      |- not offered", line) for line in lines[:-1])
    assert "GET /api/v1/cache/jobs/{id} with its ETag: 304 while it is unchanged" in done.output
    assert lines[-2].endswith("DELETE /api/v1/cache/jobs/{id}: the job is cancelled")
    states = query(settings, "SELECT status FROM cache_jobs ORDER BY created_at")
    assert [row.status for row in states] == ["pending", "cancelled"]


async def test_a_path_that_cannot_be_cached_fails_and_leaves_other_jobs_alone(
    user: User, settings: Settings
) -> None:
    add_files(settings, {"a/1.exr": 5})
    async with GatewayClient(user.url, KEY) as client:
        other = (await client.submit(files=["a/1.exr"])).id
        done = await user.run("smoke", "--submit", "/etc/passwd")
        assert done.code == 1
        assert "✗ fails       POST /api/v1/cache/jobs: Cannot use the path" in done.output
        assert "- not tried   DELETE /api/v1/cache/jobs/{id}: there is no job" in done.output
        assert done.output.endswith("1 of 19 do not work.\n")
        assert (await client.status(other)).status == "pending"


async def test_a_wrong_key_fails_what_needs_one(user: User) -> None:
    done = await user.run("smoke", "--json", TEAMCACHE_API_KEY="wrong")
    assert done.code == 1
    failed = {one["name"] for one in done.json()["checks"] if one["outcome"] == "fails"}
    assert {"GET /api/v1/cache/jobs", "WebSocket /ws with the key"} <= failed
    assert failed <= {"GET /api/v1/cache/jobs", "WebSocket /ws with the key"} | OPTIONAL


async def test_nobody_there_is_one_sentence(tmp_path: Path) -> None:
    done = await User("http://127.0.0.1:1", tmp_path).run("smoke")
    assert (done.code, done.output) == (4, "")
    assert done.errors.startswith("Error: No gateway answers at http://127.0.0.1:1")


@pytest.mark.parametrize("body", ["<html>", {"success": True}, [], None, 5, {"metrics": []}])
async def test_what_answers_strangely_fails_each_check_by_itself(
    aiohttp_server: Any, tmp_path: Path, body: Any
) -> None:
    server = Answering(aiohttp_server)
    s3 = {"isHealthy": None, "latency": None, "averageLatency": None}
    figures = {"metrics": {"s3Health": s3, "lucidLink": {"throughputMbps": 0}}}
    server.answers["GET /api/v1/metrics"] = (200, figures)
    for path in ("/livez", "/api/v1/health", "/api/v1/metrics/s3", "/api/v1/openapi.json", "/"):
        server.answers[f"GET {path}"] = (200, body)
    done = await User(await server.start(), tmp_path).run("smoke")
    assert done.code == 1
    assert "✓ works       GET /api/v1/metrics: 0 MB/s\n" in done.output
    assert "✗ fails       GET /api/v1/health: " in done.output
    assert "✗ fails       GET /api/v1/openapi.json: " in done.output
    assert "✗ fails       WebSocket /ws: " in done.output
    assert "- not offered GET /docs\n" in done.output
