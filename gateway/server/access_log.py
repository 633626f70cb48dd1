"""The access log: one line a request."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from gateway.http.app_keys import CLIENT_ADDRESS, REQUEST_ID
from gateway.logs.logging import LineHandler


class AccessLogger(AbstractAccessLogger):
    """Logs each request in a line, without a `logging.LogRecord`: that costs as much as a poll.

    The query is left out: it may hold a secret.
    """

    def __init__(self, logger: logging.Logger, log_format: str) -> None:
        super().__init__(logger, log_format)
        self._handler = _only_handler(logger)

    @property
    def enabled(self) -> bool:
        """Whether the level lets it through."""
        return self.logger.isEnabledFor(logging.INFO)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line; ``time`` is how long the request took, in seconds."""
        fields = {
            "remote": request.get(CLIENT_ADDRESS) or request.remote,
            "method": request.method,
            "path": request.rel_url.raw_path,
            "status": response.status,
            "milliseconds": round(time * 1000, 1),
            "requestId": request.get(REQUEST_ID, "-"),
        }
        remote, method, path, status, milliseconds, request_id = fields.values()
        message = f"{remote} {method} {path} {status} {milliseconds:.1f} ms {request_id}"
        if self._handler is None:
            self.logger.info("%s", message, extra={"fields": fields})
        else:
            self._handler.write_deferred(self.logger.name, message, fields)


def _only_handler(logger: logging.Logger) -> LineHandler | None:
    """Our handler, if the logger's records go there alone and unfiltered."""
    handlers = logging.getLogger().handlers
    is_plain = logger.propagate and not logger.handlers and not logger.filters
    if is_plain and len(handlers) == 1 and isinstance(handlers[0], LineHandler):
        return handlers[0]
    return None
