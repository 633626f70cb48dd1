"""The health of the bucket in the API."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from support.database import StartApi
from support.hearing import PATIENCE
from support.s3_servers import BUCKET, TIME, forget_aws, hang, moody_server, real_s3, show_key


@pytest.fixture(autouse=True)
def _no_aws_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_aws(monkeypatch, tmp_path)


async def test_metrics_show_the_health_as_the_document_says(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show_key(monkeypatch)
    with real_s3(tmp_path) as url:
        api = await start_api(
            s3_health_bucket=BUCKET, s3_endpoint=url, s3_check_interval=100, s3_region="eu-west-1"
        )
        async with api.ws_connect("/ws") as socket, asyncio.timeout(PATIENCE):
            first = await socket.receive_json()
            assert (first["type"], set(first)) == ("metrics", {"type", "lucidLink", "s3Health"})
            healthy = 0
            while healthy < 4:
                update = await socket.receive_json()
                assert update["type"] == "s3-health"
                healthy = healthy + 1 if update["s3Health"]["isHealthy"] else 0
        metrics = await (await api.get("/api/v1/metrics")).json()
        detail = await (await api.get("/api/v1/metrics/s3")).json()
    assert set(metrics) == {"success", "metrics", "timestamp"}
    # The workers' limit appears once it was read from the database.
    assert set(metrics["metrics"]) - {"workers"} == {"lucidLink", "s3Health"}
    assert metrics["metrics"]["lucidLink"] == {"throughputMbps": 0, "timestamp": None}
    assert_is_documented(metrics["metrics"]["s3Health"])
    assert detail["success"] is True
    assert TIME.fullmatch(detail["timestamp"])
    history = detail["s3Health"].pop("latencyHistory")
    assert_is_documented(detail["s3Health"])
    # Only answered checks have a latency: on a busy machine the first may time out.
    assert 4 <= len(history) <= detail["s3Health"]["checkCount"]
    assert history[-1] == detail["s3Health"]["latency"]


def assert_is_documented(health: dict[str, Any]) -> None:
    assert isinstance(health["latency"], int)
    assert isinstance(health["averageLatency"], int)
    assert health["isHealthy"] is True
    assert TIME.fullmatch(health["lastCheck"])
    assert health["checkCount"] >= 4
    assert health["region"] == "eu-west-1"
    assert health["error"] is None


async def test_without_a_bucket_values_are_null_and_nothing_is_checked(api: Any) -> None:
    body = await (await api.get("/api/v1/metrics/s3")).json()
    assert body["s3Health"] == {
        "latency": None,
        "averageLatency": None,
        "isHealthy": None,
        "lastCheck": None,
        "checkCount": 0,
        "latencyHistory": [],
        "region": "us-east-1",
        "error": None,
    }


async def test_a_hanging_s3_delays_no_request(start_api: StartApi) -> None:
    async with moody_server(hang) as server:
        api = await start_api(s3_health_bucket=BUCKET, s3_endpoint=server.url)
        assert (await api.get("/api/v1/cache/jobs")).status == 200
        body = await (await api.get("/api/v1/metrics")).json()
    assert body["metrics"]["s3Health"]["region"] == "us-east-1"
