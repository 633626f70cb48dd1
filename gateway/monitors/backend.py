"""Listens to the TeamCache backend's WebSocket: throughput, the cache's fill, files of its jobs.

Nothing that it sends may bring us down: what is not understood is ignored and counted.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
import orjson

from gateway.errors import InvalidRequest, Unavailable
from gateway.events import Event, Hub, files_topic
from gateway.jobs import parse_job_id
from gateway.metrics import Metrics
from gateway.monitors.loop import Monitor
from gateway.paths import Filespace
from gateway.wire import file_message, lucidlink_message, varnish_message

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 20.0
CONNECT_SECONDS: Final = 10.0
LONGEST_BACKOFF: Final = 30.0
# A message that is longer than this says nothing that we know; in bytes.
SENSIBLE_MESSAGE: Final = 1024 * 1024
# One that is longer than this is not even taken in: the connection is given up; in bytes.
LONGEST_MESSAGE: Final = 32 * 1024 * 1024

Message = Mapping[str, Any]


class BackendMonitor(Monitor):
    """Holds one connection; reconnects with exponential backoff and jitter, up to 30 s."""

    name = "backend"
    interval = 1.0

    def __init__(self, url: str, metrics: Metrics, hub: Hub, filespace: Filespace) -> None:
        super().__init__()
        self.ignored_messages = 0
        self._url = url
        self._metrics = metrics
        self._hub = hub
        self._filespace = filespace
        self._failures = 0
        self._takers: Mapping[str, Callable[[Message], None]] = {
            "lucidlink-stats": self._take_throughput,
            "varnish-stats": self._take_varnish,
            "cache-file-completed": self._take_file,
            "cache-file-failed": self._take_file,
        }

    async def check_once(self) -> bool:
        """Connect, and listen until the connection is lost."""
        self._failures += 1
        longest = min(LONGEST_BACKOFF, 2.0 ** min(self._failures, 6))
        # Jitter: gateways that lost the same backend must not all come back at once.
        self.interval = random.uniform(longest / 2, longest)  # noqa: S311 - no secret
        try:
            await self._listen()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"the backend at {self._url} cannot be reached: {error}") from None
        raise Unavailable("the connection to the backend was lost")

    async def _listen(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.ws_connect(
                self._url, heartbeat=HEARTBEAT_SECONDS, max_msg_size=LONGEST_MESSAGE
            ) as socket,
        ):
            self._failures = 0
            self.pulse.beat()
            log.info("connected to the backend at %s", self._url)
            async for message in socket:
                self.pulse.beat()
                self.take(message.data)

    def take(self, data: object) -> None:
        """Take in one message. Whatever it is, it raises nothing."""
        try:
            message = self._parse(data)
            self._takers[message["type"]](message)
        except (ValueError, TypeError, KeyError, OverflowError, InvalidRequest):
            self.ignored_messages += 1

    def _parse(self, data: object) -> Message:
        if not isinstance(data, str | bytes) or len(data) > SENSIBLE_MESSAGE:
            raise ValueError("not a sensible message")
        message = orjson.loads(data)
        if not isinstance(message, dict):
            raise TypeError("not an object")
        return message

    def _take_throughput(self, message: Message) -> None:
        mibps = message["getMibps"]
        if isinstance(mibps, bool) or not 0 <= float(mibps) < math.inf:
            raise ValueError("not a rate")
        throughput = self._metrics.measure_throughput(float(mibps))
        self._hub.publish(Event(lucidlink_message(throughput)))

    def _take_varnish(self, message: Message) -> None:
        figures = {
            name: value
            for name, value in message.items()
            if name != "type" and isinstance(value, str | int | float | None)
        }
        self._metrics.varnish = figures
        self._hub.publish(Event(varnish_message(figures)))

    def _take_file(self, message: Message) -> None:
        job_id = parse_job_id(message["jobId"])
        topic = files_topic(job_id)
        if not self._hub.has_subscribers(topic):
            return
        failed = message["type"] == "cache-file-failed"
        error = str(message.get("error") or "Failed") if failed else None
        path = self._filespace.relative(str(message["filePath"]))
        self._hub.publish(
            Event(
                file_message(job_id, path, size=None, error=error),
                topics=(topic,),
                job_id=job_id,
                kept=failed,
            )
        )
