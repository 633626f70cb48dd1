"""Logging: text for people, or JSON for machines, one line an event; and the access log."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Final

import orjson
from aiohttp import ClientPayloadError, web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError

from gateway.audit import AUDIT
from gateway.keys import CLIENT_ADDRESS, REQUEST_ID
from gateway.settings import Settings

CLIENT_FAULTS: Final = (
    HttpProcessingError,
    ClientPayloadError,
    web.RequestPayloadError,
    ConnectionError,
)
TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and what was attached."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        if record.name == AUDIT:
            return record.getMessage()
        milliseconds = int(record.msecs)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, Any] = {
            "time": f"{moment}.{milliseconds:03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(entry, default=str).decode()
        except TypeError:
            # A name that is not UTF-8 has lone surrogates, which JSON can only carry escaped.
            return json.dumps(entry, default=str)


class TextFormatter(logging.Formatter):
    """One line for people; those of the audit log are JSON all the same."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return record.getMessage() if record.name == AUDIT else super().format(record)


class StrangersFaults(logging.Filter):
    """Keeps aiohttp from logging an error with a traceback for each rubbish that strangers send."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a record pass; what a client did wrong is worth a line for debugging at the most."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, CLIENT_FAULTS):
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        record.exc_info, record.msg, record.args = None, "%s", (f"bad request: {error!r:.200}",)
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


def configure_logging(settings: Settings) -> None:
    """Send the logs of the whole process to standard error, as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter(TEXT))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    server_log = logging.getLogger("aiohttp.server")
    if not any(isinstance(one, StrangersFaults) for one in server_log.filters):
        server_log.addFilter(StrangersFaults())


class AccessLogger(AbstractAccessLogger):
    """One line a request. aiohttp's own costs 47 microseconds each, half of a poll.

    The query is left out: nobody knows what a caller puts there.
    """

    @property
    def enabled(self) -> bool:
        """Whether anybody reads it."""
        return self.logger.isEnabledFor(logging.INFO)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line; ``time`` is how long the request took, in seconds."""
        request_id = request.get(REQUEST_ID, "-")
        remote = request.get(CLIENT_ADDRESS) or request.remote
        milliseconds = round(time * 1000, 1)
        self.logger.info(
            "%s %s %s %d %.1f ms %s",
            remote,
            request.method,
            request.rel_url.raw_path,
            response.status,
            milliseconds,
            request_id,
            extra={
                "fields": {
                    "remote": remote,
                    "method": request.method,
                    "path": request.rel_url.raw_path,
                    "status": response.status,
                    "milliseconds": milliseconds,
                    "requestId": request_id,
                }
            },
        )
