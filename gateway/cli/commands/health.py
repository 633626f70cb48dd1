"""``health``: what the gateway says of itself, in words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from gateway.cli.connection import Connection, client_command
from gateway.cli.error_messages import tell
from gateway.cli.exit_codes import ExitCode
from gateway.cli.formatting import age, jsonable, print_json, print_rows
from gateway.client import GatewayClientError, MetricsView
from gateway.client.models import Json
from gateway.formatting import readable_rate


@click.command()
@client_command
async def command(connection: Connection) -> ExitCode | None:
    """Say whether the gateway is well: its database, its index, S3, the throughput.

    It needs no key. Exit code: 0 healthy, 4 not reachable or not healthy.

    \b
    Examples:
      teamcache-gateway health
      until teamcache-gateway health; do sleep 5; done
    """
    try:
        health = await connection.client.health()
        metrics = await connection.client.metrics()
    except GatewayClientError as error:
        if connection.as_json:
            print_json({"healthy": False, "error": str(error)})
        return tell(error, connection.settings)
    if connection.as_json:
        print_json({"healthy": True, **health, "metrics": jsonable(metrics)})
    else:
        print_rows(_rows(connection.settings.url.value, health, metrics))
    return None


def _rows(url: str, health: Json, metrics: MetricsView) -> dict[str, str]:
    degraded = f", but {health['degraded']}" if health.get("degraded") else ""
    return {
        "Gateway": url,
        "Health": f"{health.get('status')}{degraded}",
        "Database": str(health.get("database")),
        "Index": _index(health.get("index")),
        "S3": _s3(metrics),
        "Throughput": _throughput(metrics),
    }


def _index(index: Any) -> str:
    if not isinstance(index, dict):
        return "not kept by this gateway"
    status, error = str(index.get("status")), index.get("error")
    entries = index.get("entries")
    words = [status, f": {error}" if error else ""]
    if isinstance(entries, int):
        words.append(f", {entries:,} entries")
    if scanned := _time(index.get("lastScan")):
        words.append(f", last scan {age(scanned)} ago")
    return "".join(words)


def _time(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


def _s3(metrics: MetricsView) -> str:
    if metrics.s3_is_healthy is None:
        return "not checked"
    if not metrics.s3_is_healthy:
        return f"not healthy: {metrics.s3_error}" if metrics.s3_error else "not healthy"
    average = metrics.s3_average_latency
    mean = "" if average is None else f" (on average {average} ms)"
    return "healthy" if metrics.s3_latency is None else f"healthy, {metrics.s3_latency} ms{mean}"


def _throughput(metrics: MetricsView) -> str:
    if metrics.measured_at is None and not metrics.mbps:
        return "not measured yet"
    return readable_rate(metrics.mbps)
