"""Push the gateway's metrics to Amazon CloudWatch, once a minute.

Usage: python cloudwatch_metrics.py [--once] [--alarm TOPIC_ARN]

--alarm makes an alarm first, which tells an SNS topic when the gateway was not healthy for three
minutes, also if nobody pushes any more. Region and credentials are those of every AWS client:
AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID, an instance's role, … Allowed have to be
cloudwatch:PutMetricData and, for the alarm, cloudwatch:PutMetricAlarm.
"""

import argparse
import asyncio
import os

import aiohttp
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError
from prometheus_client.parser import text_string_to_metric_families

URL = os.environ.get("TEAMCACHE_URL", "http://localhost:8095")
NAMESPACE = "TeamCacheGateway"
SECONDS = 60
UNITS = {
    "teamcache_gateway_jobs": "Count",
    "teamcache_gateway_websocket_clients": "Count",
    "teamcache_gateway_database_connections": "Count",
    "teamcache_gateway_monitor_healthy": "None",
    "teamcache_gateway_s3_healthy": "None",
    "teamcache_gateway_s3_latency_seconds": "Seconds",
    "teamcache_gateway_lucidlink_throughput_bytes_per_second": "Bytes/Second",
}
HEALTHY = "healthy"
MOST_AT_ONCE = 1000


async def main(once, topic):
    # AWS_REGION is what the other SDKs read.
    region = os.environ.get("AWS_REGION") or None
    timeout = aiohttp.ClientTimeout(total=10)
    async with (
        get_session().create_client("cloudwatch", region_name=region) as cloudwatch,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        if topic:
            await make_alarm(cloudwatch, topic)
        while True:
            await push(cloudwatch, await measure(session))
            if once:
                return
            await asyncio.sleep(SECONDS)


async def measure(session):
    """What there is to push now, as CloudWatch has it. A gateway that is away is not healthy."""
    try:
        async with session.get(f"{URL}/api/v1/health") as health:
            figures = [figure(HEALTHY, health.status == 200, "None")]
        async with session.get(
            f"{URL}/api/v1/metrics", headers={"Accept": "text/plain"}, raise_for_status=True
        ) as metrics:
            return figures + read(await metrics.text())
    except (aiohttp.ClientError, OSError, TimeoutError):
        return [figure(HEALTHY, False, "None")]


def read(text):
    return [
        figure(sample.name.removeprefix("teamcache_gateway_"), sample.value, unit, sample.labels)
        for family in text_string_to_metric_families(text)
        if (unit := UNITS.get(family.name))
        for sample in family.samples
    ]


def figure(name, value, unit, labels=None):
    dimensions = [{"Name": name, "Value": value} for name, value in (labels or {}).items()]
    return {"MetricName": name, "Value": float(value), "Unit": unit, "Dimensions": dimensions}


async def push(cloudwatch, figures):
    try:
        for first in range(0, len(figures), MOST_AT_ONCE):
            some = figures[first : first + MOST_AT_ONCE]
            await cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=some)
    except (BotoCoreError, ClientError) as error:
        # The next minute may do better; the alarm notices if it does not.
        print(f"Not pushed: {error}", flush=True)
    else:
        print(f"Pushed {len(figures)} figures", flush=True)


async def make_alarm(cloudwatch, topic):
    await cloudwatch.put_metric_alarm(
        AlarmName="TeamCache gateway is not healthy",
        Namespace=NAMESPACE,
        MetricName=HEALTHY,
        Statistic="Minimum",
        ComparisonOperator="LessThanThreshold",
        Threshold=1.0,
        Period=SECONDS,
        EvaluationPeriods=3,
        TreatMissingData="breaching",
        AlarmActions=[topic],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--once", action="store_true", help="push once and end")
    parser.add_argument("--alarm", metavar="TOPIC_ARN", help="make an alarm that tells this topic")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.once, arguments.alarm))
