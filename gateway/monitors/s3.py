"""Watches the bucket: HeadBucket on the beat, its latency and whether it can be reached."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final, Self

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore import UNSIGNED
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    HTTPClientError,
    ParamValidationError,
    ReadTimeoutError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnection
from botocore.parsers import ResponseParserError

from gateway.errors import Unavailable
from gateway.events import Event, Hub
from gateway.metrics import Metrics
from gateway.monitors.loop import Monitor
from gateway.settings import Settings
from gateway.wire import s3_message

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 3.0
# A server that drips its answer outlives the read timeout; nothing outlives this one.
CHECK_SECONDS: Final = 4.0

# The variables of which one has to be set for credentials to be found without a file.
CREDENTIALS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
FAILURES: Final = {
    (TimeoutError, ConnectTimeoutError, ReadTimeoutError): "S3 did not answer in time",
    (SSLError,): "No secure connection to S3 can be made",
    (NoConnection,): "S3 cannot be reached",
    (ConnectionClosedError,): "S3 closed the connection without an answer",
    (HTTPClientError, ResponseParserError): "S3 gave no valid answer",
    # botocore asks again and again where a redirect without a location leads.
    (RecursionError,): "S3 redirects without saying where",
    (ParamValidationError,): "The name of the bucket is not valid",
}
REASONS: Final = {"404": "The bucket does not exist", "NoSuchBucket": "The bucket does not exist"}
# Whoever says that we may not look is there, and answers.
HEALTHY_REFUSALS: Final = ("403", "AccessDenied", "Forbidden")


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
        self._session = get_session()
        self._clients = AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        """Close the client, if a check has made one."""
        await self._clients.aclose()

    async def check_once(self) -> bool:
        """Ask for the bucket once, and publish what came of it. Raises `Unavailable`."""
        latency, error = await self._ask()
        self._metrics.s3_health = self._metrics.s3_health.after_check(latency, error)
        self._hub.publish(Event(s3_message(self._metrics.s3_health)))
        if error is not None:
            raise Unavailable(error)
        return False

    async def _ask(self) -> tuple[int | None, str | None]:
        """The latency in milliseconds if the bucket is healthy, else why it is not."""
        started = self._clock()
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                if self._client is None:
                    self._client = await self._clients.enter_async_context(await self._connect())
                # Making the client is no part of the round trip.
                started = self._clock()
                await self._client.head_bucket(Bucket=self._settings.s3_health_bucket)
        except Exception as error:  # noqa: BLE001 - botocore raises what it likes: RecursionError too
            reason = _reason(error)
            if reason is not None:
                return None, reason
        return round((self._clock() - started) * 1000), None

    async def _connect(self) -> Any:
        has_keys = await asyncio.to_thread(_prepare, self._session)
        config = AioConfig(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            # Without this each new client looks for a metadata service on the network.
            signature_version=None if has_keys else UNSIGNED,
        )
        return self._session.create_client(
            "s3",
            region_name=self._settings.s3_region,
            endpoint_url=self._settings.s3_endpoint or None,
            config=config,
        )


def _prepare(session: AioSession) -> bool:
    """Load what making a client would read, outside the loop; whether keys are configured."""
    loader = session.get_component("data_loader")
    loader.load_service_model("s3", "service-2")
    loader.load_service_model("s3", "endpoint-rule-set-1")
    loader.load_data("endpoints")
    loader.load_data("partitions")
    return bool(session.full_config.get("profiles")) or any(map(os.environ.get, CREDENTIALS))


def _reason(error: Exception) -> str | None:
    """One sentence on why the bucket is unhealthy; None if the answer was as good as any."""
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in HEALTHY_REFUSALS:
            return None
        return REASONS.get(code, f"S3 answered {code}")
    for kinds, reason in FAILURES.items():
        if isinstance(error, kinds):
            return reason
    return f"The check failed: {type(error).__name__}"
