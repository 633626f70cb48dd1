"""The Python examples show what a running gateway measures."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.example_tools import EXAMPLES, running_example
from support.live_gateway import LiveGateway, running_gateway
from support.optional_programs import require_package

PYTHON = EXAMPLES / "python"
POLL = "python/poll_job.py"
MONITOR = "python/metrics_monitor.py"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with running_gateway(tmp_path_factory.mktemp("live")) as live:
        yield live


@pytest.fixture(autouse=True)
def _packages() -> None:
    require_package("requests")
    require_package("websockets")


def test_polling_follows_a_job_to_its_end_with_the_backends_throughput(
    gateway: LiveGateway,
) -> None:
    gateway.backend.mibps = 41.75
    with running_example(POLL, gateway, PYTHON) as output:
        assert output.wait_for(r"Job ([0-9a-f-]{36}): (\d+) files")[2] == "12"
        assert output.wait_for(r"To be read: (.+)")[1] == "6.0 GB"
        output.wait_for(r"Read: .+ of 6\.0 GB, at .+")
        assert output.end() == 0
    rates = {line.partition(", at ")[2] for line in output.seen if ", at " in line}
    # What the backend said just before may still be the latest at the first poll.
    assert {"41.75 MB/s"} <= rates <= {"25.6 MB/s", "41.75 MB/s"}
    # The job has ended, so nothing is being read any more.
    assert output.seen[-2:] == ["Read: 6.0 GB of 6.0 GB", "The job is completed"]


def test_polling_says_why_a_job_is_refused(gateway: LiveGateway) -> None:
    with running_example(POLL, gateway, PYTHON, replace=("00_Media/Farm", "99_Lost")) as output:
        output.wait_for(r"400: No files found.*")
        assert output.end() == 1


def test_polling_says_that_the_key_is_wrong(gateway: LiveGateway) -> None:
    with running_example(POLL, gateway, PYTHON, GATEWAY_KEY="guessed") as output:
        output.wait_for("401: Invalid or missing API key")
        assert output.end() == 1


def test_polling_for_an_empty_variable_of_a_script_warms_nothing(gateway: LiveGateway) -> None:
    with running_example(POLL, gateway, PYTHON, replace=("00_Media/Farm", "")) as output:
        output.wait_for("400: Cannot use the path '': it is empty")
        assert output.end() == 1


def test_the_monitor_begins_with_all_metrics_and_follows_the_throughput(
    gateway: LiveGateway,
) -> None:
    gateway.backend.mibps = 25.6
    with running_example(MONITOR, gateway, PYTHON) as output:
        output.wait_for(f"Connected to ws://localhost:{gateway.port}/ws")
        first = json.loads(output.wait_for(r"At first: (.*)")[1])
        assert set(first) == {"lucidLink", "s3Health"}
        assert first["s3Health"]["isHealthy"] is True
        assert first["s3Health"]["region"] == "us-east-1"
        output.wait_for(r"Throughput: 25\.60 MB/s")
        gateway.backend.mibps = 7
        output.wait_for(r"Throughput: 7\.00 MB/s")


def test_the_monitor_shows_the_latency_that_s3_has(gateway: LiveGateway) -> None:
    with running_example(MONITOR, gateway, PYTHON) as output:
        shown = int(output.wait_for(r"S3: (\d+) ms \(on average (\d+) ms\)")[1])
        assert shown in gateway.get("/metrics/s3")["s3Health"]["latencyHistory"]
        with gateway.s3.frozen():
            # Five of the backend's ticks: a check has hung for at least three of them.
            output.drop_backlog()
            for _ in range(5):
                output.wait_for("Throughput: .*")
        output.wait_for(r"S3: (\d+) ms .*", lambda line: int(line[1]) >= 300)


def test_the_monitor_says_when_s3_is_away_and_when_it_is_back(gateway: LiveGateway) -> None:
    with running_example(MONITOR, gateway, PYTHON) as output:
        output.wait_for(r"S3: \d+ ms .*")
        gateway.s3.stop()
        output.wait_for(r"S3: S3 cannot be reached \(on average \d+ ms before\)")
        gateway.s3.start()
        output.wait_for(r"S3: \d+ ms .*")


def test_what_the_monitor_does_not_know_was_sent_too(gateway: LiveGateway) -> None:
    gateway.backend.bytes_used = 7_654_321
    with running_example(MONITOR, gateway, PYTHON) as output:
        for _ in range(6):
            output.wait_for("Throughput: .*")
    assert gateway.get("/metrics")["metrics"]["varnish"]["bytesUsed"] == 7_654_321


def test_the_monitor_ends_well_when_the_gateway_does(gateway: LiveGateway) -> None:
    with running_example(MONITOR, gateway, PYTHON) as output:
        output.wait_for("At first: .*")
        gateway.stop()
        output.wait_for("The gateway has closed the connection")
        assert output.end() == 0
    with running_example(POLL, gateway, PYTHON) as output:
        output.wait_for(f"No answer from http://localhost:{gateway.port}/api/v1")
        assert output.end() == 1
    gateway.start()
