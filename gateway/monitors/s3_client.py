"""S3 through aiobotocore. The import is slow: run it in a thread."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

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

from gateway.settings import Settings

CONNECT_SECONDS: Final = 2.0
READ_SECONDS: Final = 3.0

# Without a credentials file, one of these variables has to be set.
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
    # botocore follows a redirect without a location for ever.
    (RecursionError,): "S3 redirects without saying where",
    (ParamValidationError,): "The name of the bucket is not valid",
}
REASONS: Final = {"404": "The bucket does not exist", "NoSuchBucket": "The bucket does not exist"}
# A server that denies access is reachable.
HEALTHY_REFUSALS: Final = ("403", "AccessDenied", "Forbidden")


async def connect(settings: Settings) -> Any:
    """Create an S3 client, an async context manager. Does not connect yet."""
    session = get_session()
    has_keys = await asyncio.to_thread(_prepare, session)
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"},
        # Otherwise each new client looks for a metadata service on the network.
        signature_version=None if has_keys else UNSIGNED,
    )
    return session.create_client(
        "s3",
        region_name=settings.s3_region,
        endpoint_url=settings.s3_endpoint or None,
        config=config,
    )


def _prepare(session: AioSession) -> bool:
    """Preload the files that creating a client reads; whether credentials are configured."""
    loader = session.get_component("data_loader")
    loader.load_service_model("s3", "service-2")
    loader.load_service_model("s3", "endpoint-rule-set-1")
    loader.load_data("endpoints")
    loader.load_data("partitions")
    return bool(session.full_config.get("profiles")) or any(map(os.environ.get, CREDENTIALS))


def reason_of(error: Exception) -> str | None:
    """One sentence on why the bucket is unhealthy; None if the error proves it reachable."""
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in HEALTHY_REFUSALS:
            return None
        return REASONS.get(code, f"S3 answered {code}")
    for kinds, reason in FAILURES.items():
        if isinstance(error, kinds):
            return reason
    return f"The check failed: {type(error).__name__}"
