"""Logging as text or JSON, one line per event.

In text an event may have more lines, as tracebacks do; these are indented.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TextIO, cast

import orjson
from aiohttp import ClientPayloadError, web
from aiohttp.http import HttpProcessingError

from gateway.logs.audit import AUDIT
from gateway.settings import Settings

CLIENT_ERRORS: Final = (
    HttpProcessingError,
    ClientPayloadError,
    web.RequestPayloadError,
    ConnectionError,
)
TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class TimestampFormatter:
    """Formats timestamps; all but the milliseconds is formatted once a second."""

    def __init__(self, pattern: str, convert: Callable[[float], time.struct_time]) -> None:
        self._pattern = pattern
        self._convert = convert
        self._cached = (-1, "")

    def of(self, moment: float) -> str:
        """Format ``moment``, in seconds since the epoch."""
        second, text = self._cached
        if int(moment) != second:
            second, text = int(moment), time.strftime(self._pattern, self._convert(moment))
            self._cached = second, text
        return f"{text}{int((moment - second) * 1000):03d}"


class TextFormatter(logging.Formatter):
    """Text in local time: time, level, logger, message.

    Records of the audit log are JSON in any case.
    """

    def __init__(self) -> None:
        super().__init__(TEXT)
        self._stamp = TimestampFormatter("%Y-%m-%d %H:%M:%S,", time.localtime)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return record.getMessage() if record.name == AUDIT else _indented(super().format(record))

    def info(self, logger: str, message: str, _fields: Mapping[str, Any]) -> str:
        """Format an event at the current time without a `LogRecord`."""
        return _indented(f"{self._stamp.of(time.time())} INFO    {logger}: {message}")


def _indented(text: str) -> str:
    """The text of an event with all lines but the first indented."""
    return text.replace("\r", "\\r").replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message, and the attached fields."""

    def __init__(self) -> None:
        super().__init__()
        self._stamp = TimestampFormatter("%Y-%m-%dT%H:%M:%S.", time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        if record.name == AUDIT:
            return record.getMessage()
        entry: dict[str, Any] = {
            "time": f"{self._stamp.of(record.created)}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _json_line(entry)

    def info(self, logger: str, message: str, fields: Mapping[str, Any]) -> str:
        """Format an event at the current time without a `LogRecord`."""
        moment = f"{self._stamp.of(time.time())}Z"
        head = {"time": moment, "level": "info", "logger": logger, "message": message}
        return _json_line({**head, **fields})


def _json_line(entry: Mapping[str, Any]) -> str:
    """An entry as JSON on one line, without a newline."""
    try:
        return orjson.dumps(entry, default=str).decode()
    except TypeError:
        # A name that is not UTF-8 has lone surrogates, which JSON can only carry escaped.
        return json.dumps(entry, default=str)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes records at once, and deferred lines at the end of the event loop's turn.

    The order of both is kept. Pending lines at the exit of the process are written by
    `logging.shutdown`, which Python calls.
    """

    def __init__(self, stream: TextIO, formatter: TextFormatter | JsonFormatter) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self._format_info = formatter.info
        self._waiting: list[str] = []
        # Set by the constructor of logging.Handler.
        self._own_lock = cast(threading.RLock, self.lock)

    def write_deferred(self, logger: str, message: str, fields: Mapping[str, Any]) -> None:
        """Write a line in this turn of the running loop, at a tenth of a record's cost."""
        line = self._format_info(logger, message, fields)
        with self._own_lock:
            if not self._waiting:
                asyncio.get_running_loop().call_soon(self.flush)
            self._waiting.append(line)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, after the pending lines."""
        self._write_waiting()
        super().emit(record)

    def flush(self) -> None:
        """Write the pending lines."""
        with self._own_lock:
            self._write_waiting()
            super().flush()

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        text = "\n".join((*self._waiting, ""))
        self._waiting.clear()
        # If the stream is closed, the error cannot be reported either.
        with suppress(OSError, ValueError):
            self.stream.write(text)


class ClientErrorFilter(logging.Filter):
    """Keeps aiohttp from logging a traceback for each malformed request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass a record; a client's error becomes one line at DEBUG."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, CLIENT_ERRORS):
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        record.exc_info, record.msg, record.args = None, "%s", (f"bad request: {error!r:.200}",)
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


def configure_logging(settings: Settings) -> None:
    """Send the logs of the whole process to standard error, as the settings configure."""
    formatter = JsonFormatter() if settings.log_format == "json" else TextFormatter()
    handler = LineHandler(sys.stderr, formatter)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    server_log = logging.getLogger("aiohttp.server")
    if not any(isinstance(one, ClientErrorFilter) for one in server_log.filters):
        server_log.addFilter(ClientErrorFilter())
