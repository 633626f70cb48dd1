"""A database without room for more still reads: that no job can be submitted is to be seen."""

from __future__ import annotations

from typing import Any

from gateway.metrics.latest import Metrics
from gateway.schemas.serializers import all_metrics
from gateway.settings import Settings
from support.cli_kit import Answering, User
from support.index_rows import add_files, run
from support.prometheus_text import scrape

JOBS = "/api/v1/cache/jobs"
HEALTH = "/api/v1/health"
SERIES = ("database_disk_full", frozenset[tuple[str, str]]())
# What PostgreSQL says when it cannot make a table's file longer.
FILL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER no_room BEFORE INSERT ON cache_jobs FOR EACH ROW EXECUTE FUNCTION no_room();
"""


async def submit(api: Any) -> Any:
    return await api.post(JOBS, json={"files": ["a/1.mov"]})


async def test_a_full_disk_is_seen_until_a_job_is_written_again(
    api: Any, database_settings: Settings
) -> None:
    add_files(database_settings, {"a/1.mov": 1})
    assert "degraded" not in await (await api.get(HEALTH)).json()
    run(database_settings, FILL)
    for _ in range(2):
        refused = await submit(api)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        assert "space" not in await refused.text()
    health = await api.get(HEALTH)
    assert health.status == 200  # what there is can be read
    assert "disk of the database is full" in (await health.json())["degraded"]
    assert (await health.json())["status"] == "healthy"
    assert (await scrape(api))[SERIES] == 1
    assert (await api.get(JOBS)).status == 200

    run(database_settings, "DROP TRIGGER no_room ON cache_jobs")
    assert (await api.post(JOBS, json={"files": [""]})).status == 400  # this has written nothing
    assert "degraded" in await (await api.get(HEALTH)).json()
    assert (await submit(api)).status == 201
    assert "degraded" not in await (await api.get(HEALTH)).json()
    assert (await scrape(api))[SERIES] == 0


async def test_another_outage_is_no_full_disk(api: Any, database_settings: Settings) -> None:
    add_files(database_settings, {"a/1.mov": 1})
    run(database_settings, FILL.replace("disk_full", "too_many_connections"))
    assert (await submit(api)).status == 503
    assert "degraded" not in await (await api.get(HEALTH)).json()


async def test_the_command_says_it(aiohttp_server: Any, tmp_path: Any) -> None:
    gateway = Answering(aiohttp_server)
    report = {
        "success": True,
        "status": "healthy",
        "database": "connected",
        "degraded": "Disk full",
    }
    figures = all_metrics(Metrics("us-east-1"))
    gateway.answers["GET /api/v1/health"] = (200, report)
    gateway.answers["GET /api/v1/metrics"] = (200, {"success": True, "metrics": figures})
    done = await User(await gateway.start(), tmp_path).run("health")
    assert "healthy, but Disk full" in done.output, done.errors
