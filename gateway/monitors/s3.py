"""Checks the bucket with HeadBucket: its latency, and whether it can be reached."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final, Self

from gateway.errors import Unavailable
from gateway.events.hub import Event, Hub
from gateway.metrics.latest import Metrics
from gateway.monitors.loop import Monitor
from gateway.schemas.serializers import s3_message
from gateway.settings import Settings

# The read timeout does not end a response that drips; this one does.
CHECK_SECONDS: Final = 4.0


class S3Monitor(Monitor):
    """Publishes the health of ``settings.s3_health_bucket`` after each check."""

    name = "s3"

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        hub: Hub,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__()
        self.interval = settings.s3_check_interval / 1000
        self._settings = settings
        self._metrics = metrics
        self._hub = hub
        self._clock = clock
        self._clients = AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        """Close the client, if a check has made one."""
        await self._clients.aclose()

    async def check_once(self) -> bool:
        """Check the bucket once, and publish the result. Raises `Unavailable`."""
        latency, error = await self._measure()
        self._metrics.s3_health = self._metrics.s3_health.after_check(latency, error)
        self._hub.publish(Event(s3_message(self._metrics.s3_health)))
        if error is not None:
            raise Unavailable(error)
        return False

    async def _measure(self) -> tuple[int | None, str | None]:
        """The latency in milliseconds if the bucket is healthy, else why it is not."""
        # The import takes a tenth of a second, so it runs in a thread.
        s3_client = await asyncio.to_thread(importlib.import_module, "gateway.monitors.s3_client")
        started = self._clock()
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                if self._client is None:
                    connecting = await s3_client.connect(self._settings)
                    self._client = await self._clients.enter_async_context(connecting)
                # Creating the client is not part of the latency.
                started = self._clock()
                await self._client.head_bucket(Bucket=self._settings.s3_health_bucket)
        except Exception as error:  # noqa: BLE001 - botocore raises many types: RecursionError too
            reason: str | None = s3_client.reason_of(error)
            if reason is not None:
                return None, reason
        return round((self._clock() - started) * 1000), None
