"""The stored results of S3 checks: the latest latencies and their average."""

from __future__ import annotations

from gateway.metrics.latest import S3Health


def test_a_failed_check_does_not_change_the_average_and_the_history() -> None:
    health = S3Health("us-east-1").after_check(40, None).after_check(60, None)
    failed = health.after_check(None, "S3 answered 500")
    assert (failed.average_latency, failed.latencies) == (50, (40, 60))
    assert (failed.latency, failed.check_count) == (None, 3)


def test_the_history_keeps_the_last_sixty_latencies() -> None:
    health = S3Health("us-east-1")
    for latency in range(70):
        health = health.after_check(latency, None)
    assert health.latencies == tuple(range(10, 70))
    assert health.check_count == 70
