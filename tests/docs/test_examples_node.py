"""The examples for Node.js show what a running gateway measures."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.example_tools import copy_with_packages, running_example
from support.live_gateway import LiveGateway, running_gateway

JOB = "node/cache-job.js"
MONITOR = "node/metrics-monitor.js"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_with_packages("node", tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def gateway(node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with running_gateway(tmp_path_factory.mktemp("live")) as live:
        yield live


def test_axios_follows_a_job_to_its_end_with_the_backends_throughput(
    node: Path, gateway: LiveGateway
) -> None:
    gateway.backend.mibps = 41.75
    with running_example(JOB, gateway, node) as output:
        assert output.wait_for(r"Job ([0-9a-f-]{36}): (\d+) files")[2] == "12"
        assert output.wait_for(r"To be read: (.+)")[1] == "6.0 GB"
        output.wait_for(r"Read: .+ of 6\.0 GB, at 41\.75 MB/s")
        assert output.end() == 0
    assert output.seen[-3:] == [
        "Files: 12 of 12",
        "Read: 6.0 GB of 6.0 GB",
        "The job is completed",
    ]


def test_axios_gets_the_reason_of_a_refusal(node: Path, gateway: LiveGateway) -> None:
    with running_example(JOB, gateway, node, replace=("00_Media/Farm", "99_Lost")) as output:
        output.wait_for("400: No files found.*")
        assert output.end() == 1


def test_axios_gets_the_reason_why_a_key_is_wrong(node: Path, gateway: LiveGateway) -> None:
    with running_example(JOB, gateway, node, GATEWAY_KEY="guessed") as output:
        output.wait_for("401: Invalid or missing API key")
        assert output.end() == 1


def test_ws_begins_with_all_metrics_and_follows_the_throughput(
    node: Path, gateway: LiveGateway
) -> None:
    gateway.backend.mibps = 25.6
    with running_example(MONITOR, gateway, node) as output:
        output.wait_for(f"Connected to ws://localhost:{gateway.port}/ws")
        first = json.loads(output.wait_for("At first: (.*)")[1])
        assert first["lucidLink"]["throughputMbps"] in (25.6, 41.75)
        assert first["s3Health"]["isHealthy"] is True
        output.wait_for(r"Throughput: 25\.6 MB/s")
        gateway.backend.mibps = 31.25
        output.wait_for(r"Throughput: 31\.25 MB/s")


def test_ws_follows_the_health_of_s3(node: Path, gateway: LiveGateway) -> None:
    with running_example(MONITOR, gateway, node) as output:
        shown = int(output.wait_for(r"S3: (\d+) ms \(on average (\d+) ms\)")[1])
        assert shown in gateway.get("/metrics/s3")["s3Health"]["latencyHistory"]
        gateway.s3.stop()
        output.wait_for(r"S3: S3 cannot be reached \(on average \d+ ms before\)")
        gateway.s3.start()
        output.wait_for(r"S3: \d+ ms .*")


def test_ws_comes_back_when_the_gateway_does_and_ends_on_an_interrupt(
    node: Path, gateway: LiveGateway
) -> None:
    with running_example(MONITOR, gateway, node, GATEWAY_RECONNECT_SECONDS="0.2") as output:
        output.wait_for(r"Throughput: .*")
        gateway.stop()
        # 1001: it said that it was going away.
        output.wait_for(r"Disconnected \(1001\)")
        output.wait_for(r"WebSocket: ECONNREFUSED")
        gateway.backend.mibps = 12.5
        gateway.start()
        output.wait_for("Connected to .*")
        output.wait_for("At first: .*")
        output.wait_for(r"Throughput: 12\.5 MB/s")
        output.process.send_signal(signal.SIGINT)
        assert output.end() == 0
