"""Logging: text for people, or JSON for machines, one line an event.

In text more lines may belong to an event, as a traceback's do: they are indented.
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

CLIENT_FAULTS: Final = (
    HttpProcessingError,
    ClientPayloadError,
    web.RequestPayloadError,
    ConnectionError,
)
TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class TimestampFormatter:
    """Moments as text, of which all but the milliseconds is made once a second."""

    def __init__(self, pattern: str, convert: Callable[[float], time.struct_time]) -> None:
        self._pattern = pattern
        self._convert = convert
        self._of = (-1, "")

    def of(self, moment: float) -> str:
        """A moment, in seconds of the Unix clock."""
        second, text = self._of
        if int(moment) != second:
            second, text = int(moment), time.strftime(self._pattern, self._convert(moment))
            self._of = second, text
        return f"{text}{int((moment - second) * 1000):03d}"


class TextFormatter(logging.Formatter):
    """A line for people, in local time: time, level, logger, message.

    Those of the audit log are JSON all the same.
    """

    def __init__(self) -> None:
        super().__init__(TEXT)
        self._stamp = TimestampFormatter("%Y-%m-%d %H:%M:%S,", time.localtime)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return record.getMessage() if record.name == AUDIT else _indented(super().format(record))

    def info(self, logger: str, message: str, _fields: Mapping[str, Any]) -> str:
        """The line of something that happens now and is no record."""
        return _indented(f"{self._stamp.of(time.time())} INFO    {logger}: {message}")


def _indented(text: str) -> str:
    """An event's text, in which only its first line begins like an event."""
    return text.replace("\r", "\\r").replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and what was attached."""

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
        """The line of something that happens now and is no record."""
        moment = f"{self._stamp.of(time.time())}Z"
        head = {"time": moment, "level": "info", "logger": logger, "message": message}
        return _json_line({**head, **fields})


def _json_line(entry: Mapping[str, Any]) -> str:
    """An entry as JSON on one line, without its end."""
    try:
        return orjson.dumps(entry, default=str).decode()
    except TypeError:
        # A name that is not UTF-8 has lone surrogates, which JSON can only carry escaped.
        return json.dumps(entry, default=str)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes records at once, and lines that are no records at the end of the loop's turn.

    They come out in the order in which they came in. What still waits when the process ends is
    written by `logging.shutdown`, which Python calls.
    """

    def __init__(self, stream: TextIO, formatter: TextFormatter | JsonFormatter) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self._format_info = formatter.info
        self._waiting: list[str] = []
        # There is one since the handler was made.
        self._own_lock = cast(threading.RLock, self.lock)

    def write_deferred(self, logger: str, message: str, fields: Mapping[str, Any]) -> None:
        """Write a line in this turn of the running loop. It costs a tenth of a record."""
        line = self._format_info(logger, message, fields)
        with self._own_lock:
            if not self._waiting:
                asyncio.get_running_loop().call_soon(self.flush)
            self._waiting.append(line)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, behind the lines that wait."""
        self._write_waiting()
        super().emit(record)

    def flush(self) -> None:
        """Write the lines that wait."""
        with self._own_lock:
            self._write_waiting()
            super().flush()

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        text = "\n".join((*self._waiting, ""))
        self._waiting.clear()
        # Where nobody reads any more, there is nobody to tell of it.
        with suppress(OSError, ValueError):
            self.stream.write(text)


class ClientErrorFilter(logging.Filter):
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
    formatter = JsonFormatter() if settings.log_format == "json" else TextFormatter()
    handler = LineHandler(sys.stderr, formatter)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    server_log = logging.getLogger("aiohttp.server")
    if not any(isinstance(one, ClientErrorFilter) for one in server_log.filters):
        server_log.addFilter(ClientErrorFilter())
