"""The metrics in Prometheus's format: negotiation, validity and bounded size."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg2
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway.app import create_app
from gateway.database import connection_arguments
from gateway.handlers import metrics as metrics_module
from gateway.http.app_keys import METRICS
from gateway.jobs import store as job_store
from gateway.metrics.prometheus import prefers_prometheus
from gateway.settings import Settings
from support.database import StartApi, administer, change
from support.hearing import PATIENCE
from support.index_rows import run
from support.outages import NO_DATABASE, kill_others
from support.prometheus_text import PREFIX, URL, Series, scrape
from support.s3_servers import BUCKET, answer, forget_aws, moody_server

JOBS = "/api/v1/cache/jobs"
UNKNOWN_JOB = f"{JOBS}/6bb4629b-1487-477c-96fe-b762d82a099b"

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
BROWSER = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)

WANT_TEXT = {
    "Prometheus 2": PROMETHEUS_2,
    "Prometheus 3": PROMETHEUS_3,
    "text": "text/plain",
    "shouted": "Text/Plain",
    "text, rather than JSON": "application/json;q=0.4, text/plain;q=0.5",
    "text, but no JSON": "application/json;q=0, text/plain;q=0.1",
    "OpenMetrics": "application/openmetrics-text",
    "spaces": " text/plain ; version=0.0.4 ; q=1 , */* ; q=0.1",
    "broken weight of JSON": "application/json;q=much, text/plain",
}
WANT_JSON = {
    "nothing": "",
    "curl": "*/*",
    "browser": BROWSER,
    "JSON": "application/json",
    "axios": "application/json, text/plain, */*",
    "JSON first": "application/json;q=1,text/plain;q=0.5",
    "both alike": "text/plain, application/json",
    "no text": "text/plain;q=0, */*",
    "any text": "text/*, */*;q=0.1",
    "broken weight of text": "text/plain;q=much",
    "no number": "text/plain;q=nan, application/json",
    "nonsense": ";;;,,, ;q=;=,\x7f",
}
# The library raised on these, or could, or claimed a format that it does not support.
STRANGE_TEXT = {
    "a version that is none": "application/openmetrics-text;version=abc",
    "a version from the future": "application/openmetrics-text;version=99.0.0",
    "a version that goes on": "application/openmetrics-text;version=" + "9" * 4000,
    "a negative version": "application/openmetrics-text;version=-1.0.0",
    "a version without a value": "text/plain;version=",
    "a quoted version": 'text/plain;version="1.0.0"',
    "letters of elsewhere": "text/plain;version=1.0.0ü",
    "an unknown escaping": "application/openmetrics-text;version=1.0.0;escaping=none-such",
    "OpenMetrics refused": "application/openmetrics-text;version=1.0.0;q=0, text/plain",
}


@pytest.mark.parametrize("accept", WANT_TEXT.values(), ids=WANT_TEXT)
def test_a_preferred_text_format_is_served(accept: str) -> None:
    assert prefers_prometheus(accept)


@pytest.mark.parametrize("accept", WANT_JSON.values(), ids=WANT_JSON)
def test_json_is_served_otherwise(accept: str) -> None:
    assert not prefers_prometheus(accept)


@pytest.mark.parametrize("accept", [PROMETHEUS_2, PROMETHEUS_3], ids=["2", "3"])
async def test_prometheus_is_answered_in_openmetrics(api: Any, accept: str) -> None:
    response = await api.get(URL, headers={"Accept": accept})
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0")
    assert response.headers["Vary"] == "Accept"
    assert list(parse_openmetrics(await response.text()))


async def test_plain_text_is_answered_in_the_old_format(api: Any) -> None:
    response = await api.get(URL, headers={"Accept": "text/plain"})
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert list(parse_text(await response.text()))


@pytest.mark.parametrize("accept", STRANGE_TEXT.values(), ids=STRANGE_TEXT)
async def test_an_unsupported_accept_header_gets_a_supported_format(api: Any, accept: str) -> None:
    response = await api.get(URL, headers={"Accept": accept})
    assert response.status == 200
    content_type = response.headers["Content-Type"]
    read = parse_openmetrics if "openmetrics" in content_type else parse_text
    assert any(word in content_type for word in ("version=0.0.4", "version=1.0.0"))
    assert list(read(await response.text()))
    assert ("openmetrics" in content_type) is ("unknown" in accept or "none-such" in accept)


@pytest.mark.parametrize("accept", WANT_JSON.values(), ids=WANT_JSON)
async def test_the_json_format_is_unchanged(api: Any, accept: str) -> None:
    response = await api.get(URL, headers={"Accept": accept.replace("\x7f", "")})
    assert (response.status, response.headers["Vary"]) == (200, "Accept")
    assert (await response.json())["success"] is True


async def test_accept_headers_in_two_lines_are_combined(api: Any) -> None:
    headers = [("Accept", "application/json;q=0.1"), ("Accept", "text/plain")]
    response = await api.get(URL, headers=headers)
    assert response.headers["Content-Type"].startswith("text/plain")


async def test_a_scrape_needs_no_key(api: Any) -> None:
    del api.session.headers["X-API-Key"]
    assert (await api.get(URL, headers={"Accept": PROMETHEUS_2})).status == 200


# Content


def value(series: Series, name: str, **labels: str) -> float | None:
    return series.get((name, frozenset(labels.items())))


FAMILIES = {
    "requests_total",
    "request_duration_seconds_bucket",
    "jobs",
    "warmed_files_total",
    "warmed_bytes_total",
    "websocket_clients",
    "websocket_dropped_events_total",
    "database_connections",
    "database_connections_limit",
    "monitor_healthy",
    "monitor_age_seconds",
    "s3_healthy",
    "s3_latency_seconds",
    "lucidlink_throughput_bytes_per_second",
}


async def test_every_family_has_a_help_and_a_type_in_both_formats(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    forget_aws(monkeypatch, tmp_path)
    async with moody_server(answer("200 OK")) as s3:
        api = await start_api(s3_health_bucket=BUCKET, s3_endpoint=s3.url)
        async with asyncio.timeout(PATIENCE):
            while api.app[METRICS].s3_health.latency is None:
                await asyncio.sleep(0.01)
        api.app[METRICS].measure_throughput(2.5)
        for accept, parse in (("text/plain", parse_text), (PROMETHEUS_2, parse_openmetrics)):
            text = await (await api.get(URL, headers={"Accept": accept})).text()
            families = list(parse(text))
            names = {s.name.removeprefix(PREFIX) for family in families for s in family.samples}
            assert names >= FAMILIES
            assert all(family.documentation and family.type != "unknown" for family in families)
            assert all(family.name.startswith(PREFIX) for family in families)
        series = await scrape(api)
    assert value(series, "lucidlink_throughput_bytes_per_second") == 2.5 * 1024 * 1024
    assert value(series, "s3_healthy") == 1
    assert value(series, "monitor_healthy", monitor="s3") == 1


async def test_an_unhealthy_bucket_shows_in_its_gauges(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    forget_aws(monkeypatch, tmp_path)
    async with moody_server(answer("500 Oh")) as s3:
        api = await start_api(s3_health_bucket=BUCKET, s3_endpoint=s3.url)
        async with asyncio.timeout(PATIENCE):
            while api.app[METRICS].s3_health.is_healthy is None:
                await asyncio.sleep(0.01)
        series = await scrape(api)
    assert value(series, "s3_healthy") == 0
    assert value(series, "monitor_healthy", monitor="s3") == 0
    assert value(series, "s3_latency_seconds") is None


async def test_requests_are_counted_by_method_route_and_status(api: Any) -> None:
    before = await scrape(api)
    for _ in range(3):
        await api.get(UNKNOWN_JOB)
    await api.post(JOBS, json={"files": ["a.mov"]})
    after = await scrape(api)
    job = {"method": "GET", "route": JOBS + "/{job_id}", "status": "404"}
    assert (value(before, "requests_total", **job), value(after, "requests_total", **job)) == (
        None,
        3,
    )
    created = {"method": "POST", "route": JOBS, "status": "201"}
    assert value(after, "requests_total", **created) == 1
    assert value(after, "request_duration_seconds_count", route=JOBS + "/{job_id}") == 3
    scrapes = {"method": "GET", "route": URL, "status": "200"}
    earlier, later = (value(s, "requests_total", **scrapes) or 0 for s in (before, after))
    assert later == earlier + 1


async def test_jobs_are_counted_by_state(api: Any, database_settings: Settings) -> None:
    for name in ("a", "b", "c"):
        await api.post(JOBS, json={"files": [name]})
    run(
        database_settings,
        "UPDATE cache_jobs SET status = 'running' WHERE id IN (SELECT id FROM cache_jobs LIMIT 1)",
    )
    series = await scrape(api)
    counts = {
        state: value(series, "jobs", status=state)
        for state in ("pending", "running", "paused", "completed", "failed", "cancelled")
    }
    assert counts == {
        "pending": 2,
        "running": 1,
        "paused": 0,
        "completed": 0,
        "failed": 0,
        "cancelled": 0,
    }


async def test_connected_websocket_clients_are_counted(api: Any) -> None:
    async with api.ws_connect("/ws") as socket:
        await socket.receive_json()
        assert value(await scrape(api), "websocket_clients") == 1
    async with asyncio.timeout(PATIENCE):
        while value(await scrape(api), "websocket_clients") != 0:
            pass


# The parser accepts these; it refuses all others before our code runs.
STRANGE_METHODS = ("PROPFIND", "MKCOL", "LOCK", "REPORT", "PURGE", "SEARCH", "NOTIFY", "TRACE")


async def test_clients_cannot_create_series(api: Any) -> None:
    await api.get("/nowhere")
    await api.get(UNKNOWN_JOB)
    await api.request("LOCK", URL)
    await api.request("DELETE", URL)
    # A scrape is counted after its response, so the second one includes the first.
    await scrape(api)
    before = set(await scrape(api))
    for number in range(50):
        await api.get(f"/nowhere/{number}?page={number}")
        await api.get(f"{UNKNOWN_JOB[:-2]}{number:02}")
        await api.request(STRANGE_METHODS[number % len(STRANGE_METHODS)], URL)
        await api.request("DELETE", URL)
    after = await scrape(api)
    assert set(after) == before
    assert value(after, "requests_total", method="other", route="none", status="405") == 51
    assert value(after, "requests_total", method="GET", route="none", status="404") == 51


# While the database is unavailable


async def test_a_scrape_works_while_the_database_is_unavailable(
    api: Any, database_settings: Settings, postgres_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_store, "COUNT_SECONDS", 0.0)
    assert value(await scrape(api), "jobs", status="pending") == 0
    name = database_settings.db_name
    administer(postgres_server, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", name)
    kill_others(postgres_server, name)
    series = await scrape(api)
    assert value(series, "jobs", status="pending") is None
    assert value(series, "websocket_clients") == 0
    administer(postgres_server, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", name)
    async with asyncio.timeout(PATIENCE):
        while value(await scrape(api), "jobs", status="pending") is None:
            await asyncio.sleep(0.05)


async def test_a_scrape_does_not_wait_for_a_database_that_hangs(
    api: Any, database_settings: Settings, monkeypatch: pytest.MonkeyPatch, blocked_jobs: None
) -> None:
    monkeypatch.setattr(metrics_module, "COUNT_SECONDS", 0.2)
    series = await scrape(api)
    assert value(series, "jobs", status="pending") is None
    assert value(series, "websocket_clients") == 0


@pytest.fixture
def blocked_jobs(api: Any, database_settings: Settings) -> Any:
    """Another transaction has locked the table of jobs."""
    connection = psycopg2.connect(**connection_arguments(database_settings))
    connection.cursor().execute("LOCK TABLE cache_jobs IN ACCESS EXCLUSIVE MODE")
    yield
    connection.close()


async def test_a_gateway_that_never_reached_its_database_can_be_scraped(
    aiohttp_client: Any, database_settings: Settings
) -> None:
    api = await aiohttp_client(create_app(change(database_settings, NO_DATABASE)))
    series = await scrape(api)
    assert value(series, "jobs", status="pending") is None
    assert value(series, "database_connections") == 0
