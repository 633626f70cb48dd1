"""Show throughput and S3 health as they change, until the gateway goes or Ctrl-C.

Usage: python metrics_monitor.py
"""

import asyncio
import contextlib
import json
import os

import websockets

URL = os.environ.get("GATEWAY_URL", "http://localhost:8095").replace("http", "ws", 1) + "/ws"


class MetricsMonitor:
    """Keeps the newest figures. Their names are the gateway's: ``lucidLink``, ``s3Health``."""

    def __init__(self, url=URL):
        self.url = url
        self.metrics = {"lucidLink": None, "s3Health": None}

    async def run(self):
        async with websockets.connect(self.url) as socket:
            say(f"Connected to {self.url}")
            async for text in socket:
                self.take(json.loads(text))
        say("The gateway has closed the connection")

    def take(self, message):
        """Keep and show what we know; there are other types of message, and may be more one day."""
        match message["type"]:
            case "metrics":
                self.metrics = {name: message[name] for name in self.metrics}
                say(f"At first: {json.dumps(self.metrics)}")
            case "lucidlink-stats":
                self.metrics["lucidLink"] = message["lucidLink"]
                say(f"Throughput: {message['lucidLink']['throughputMbps']:.2f} MB/s")
            case "s3-health":
                self.metrics["s3Health"] = message["s3Health"]
                say(describe(message["s3Health"]))


def describe(health):
    # A check that failed has no latency, but a reason.
    if not health["isHealthy"]:
        return f"S3: {health['error']} (on average {health['averageLatency']} ms before)"
    return f"S3: {health['latency']} ms (on average {health['averageLatency']} ms)"


def say(line):
    # Flushed, so that a pipe gets each line at once.
    print(line, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(MetricsMonitor().run())
