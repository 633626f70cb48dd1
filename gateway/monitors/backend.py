"""Listens to the TeamCache backend's WebSocket: throughput, cache usage, files of its jobs.

Its messages are untrusted input: invalid ones are ignored and counted.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from gateway.errors import InvalidRequest, Unavailable
from gateway.events.hub import Event, Hub, files_topic
from gateway.job import parse_job_id
from gateway.metrics.latest import Metrics
from gateway.monitors.loop import Monitor
from gateway.paths import Filespaces
from gateway.schemas.metrics import VarnishMetrics
from gateway.schemas.serializers import file_message, lucidlink_message, varnish_message

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 20.0
# For the whole handshake: a backend may accept the connection and never answer.
CONNECT_SECONDS: Final = 10.0
MAX_BACKOFF: Final = 30.0
# Longer messages, in bytes, are ignored: none that we know is as long.
MAX_PARSED_BYTES: Final = 1024 * 1024
# A longer message, in bytes, closes the connection.
MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
# No network reads faster; in MiB/s.
MAX_RATE: Final = 1e9
VARNISH_METRICS: Final = tuple(VarnishMetrics.__annotations__)
MAX_TEXT_LENGTH: Final = 4096

Message = Mapping[str, Any]


class BackendMonitor(Monitor):
    """Holds one connection; reconnects with exponential backoff and jitter, up to 30 s."""

    name = "backend"
    interval = 0.0

    def __init__(self, url: str, metrics: Metrics, hub: Hub, filespaces: Filespaces) -> None:
        super().__init__()
        self.ignored_messages = 0
        self._url = url
        self._name = _without_secrets(url)
        self._metrics = metrics
        self._hub = hub
        self._filespaces = filespaces
        self._failures = 0
        self._handlers: Mapping[str, Callable[[Message], None]] = {
            "lucidlink-stats": self._handle_throughput,
            "varnish-stats": self._handle_varnish,
            "cache-file-completed": self._handle_file,
            "cache-file-failed": self._handle_file,
        }

    async def check_once(self) -> bool:
        """Connect, and listen until the connection is lost."""
        try:
            await self._listen()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = _explain(error)
            raise Unavailable(f"the backend at {self._name} cannot be reached: {reason}") from None
        finally:
            self._back_off()
        raise Unavailable("the connection to the backend was lost")

    def _back_off(self) -> None:
        """Set the rest: it doubles with each failed attempt."""
        self._failures += 1
        maximum = min(MAX_BACKOFF, 2.0 ** min(self._failures, 6))
        # Jitter: gateways that lost the same backend must not all reconnect at once.
        self.rest = random.uniform(maximum / 2, maximum)  # noqa: S311 - no secret

    async def _listen(self) -> None:
        # aiohttp's default limit of five minutes would apply to the whole connection.
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            await self._connect(session) as socket,
        ):
            self.heartbeat.ok()
            log.info("connected to the backend at %s", self._name)
            async for message in socket:
                if message.type is aiohttp.WSMsgType.ERROR:
                    break
                # Only a message proves that the backend is back: it may disconnect at once.
                self._failures = 0
                self.heartbeat.ok()
                self.handle(message.data)

    async def _connect(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await session.ws_connect(
                self._url, heartbeat=HEARTBEAT_SECONDS, max_msg_size=MAX_MESSAGE_BYTES
            )

    def handle(self, data: object) -> None:
        """Handle one message. Never raises, whatever its content."""
        try:
            message = self._parse(data)
            self._handlers[message["type"]](message)
        except (ValueError, TypeError, KeyError, OverflowError, InvalidRequest):
            self.ignored_messages += 1

    def _parse(self, data: object) -> Message:
        if not isinstance(data, str | bytes) or len(data) > MAX_PARSED_BYTES:
            raise ValueError("not a sensible message")
        message = orjson.loads(data)
        if not isinstance(message, dict):
            raise TypeError("not an object")
        return message

    def _handle_throughput(self, message: Message) -> None:
        mibps = message["getMibps"]
        if not _is_number(mibps) or not 0 <= mibps <= MAX_RATE:
            raise ValueError("not a rate")
        throughput = self._metrics.measure_throughput(float(mibps))
        self._hub.publish(Event(lucidlink_message(throughput)))

    def _handle_varnish(self, message: Message) -> None:
        metrics = {
            name: value
            for name in VARNISH_METRICS
            if (value := message.get(name)) is not None and (_is_number(value) or _is_text(value))
        }
        if not metrics:
            raise ValueError("no metrics")
        self._metrics.varnish = metrics
        self._hub.publish(Event(varnish_message(metrics)))

    def _handle_file(self, message: Message) -> None:
        job_id = parse_job_id(message["jobId"])
        topic = files_topic(job_id)
        if not self._hub.has_subscribers(topic):
            return
        path, reason = message["filePath"], message.get("error")
        if not _is_text(path):
            raise ValueError("not a path")
        failed = message["type"] == "cache-file-failed"
        error = (reason if _is_text(reason) else "Failed") if failed else None
        self._hub.publish(
            Event(
                file_message(job_id, self._filespaces.relative(path), size=None, error=error),
                topics=(topic,),
                job_id=job_id,
                must_deliver=failed,
            )
        )


def _without_secrets(url: str) -> str:
    """The URL without a password or token that it may contain."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "BACKEND_WS_URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _explain(error: Exception) -> str:
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"it answered {error.status}"
    if isinstance(error, aiohttp.InvalidURL):
        return "its URL is not valid"
    return str(error) or "it did not answer in time"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT_LENGTH
