"""What the client reads from texts and writes into them: URLs, waits, queries."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from yarl import URL

from gateway.client.errors import GatewayClientError

EXAMPLE: Final = "http://localhost:8095"
MAX_WAIT: Final = 60.0


def quoted(key: str) -> str:
    """A string as RFC 8941 (structured fields) writes it."""
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def page_query(status: str | None, limit: int, offset: int) -> dict[str, str]:
    """What asks for a page of a list."""
    query = {"limit": str(limit), "offset": str(offset)}
    return query | ({"status": status} if status else {})


def read_url(text: str) -> URL:
    """The URL with the slash at its end. Raises `GatewayClientError`."""
    try:
        url = URL(f"{text}/")
    except ValueError:
        url = URL()
    # What stands before an @ may be a password, which nobody is to read in a message.
    if "@" in text.rpartition("://")[2].partition("/")[0]:
        raise GatewayClientError("A URL with a name or a password before an @ is not taken")
    if url.scheme not in ("http", "https") or not url.host or any(map(str.isspace, text)):
        raise GatewayClientError(f"{'It' if '@' in text else text} is no URL like {EXAMPLE}")
    return url


def read_wait(retry_after: str) -> float:
    """The seconds that Retry-After asks for, as a number or as a date; 1 if it is neither."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            seconds = 1.0
    return max(1.0, min(MAX_WAIT, seconds)) if math.isfinite(seconds) else 1.0
