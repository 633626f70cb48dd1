"""Polls of one job, answered on a short way past the router, the middleware and the handler.

Whoever waits for a job asks for it again and again, and nearly all of these requests end alike: the
key holds, the job is in memory, it is shown. To bring one through everything that serves requests
of any kind takes three times what it takes to answer it, so it is answered here in one go.

All others go the long way: what is out of the ordinary, and what would be refused. So the short way
knows no errors; what it shows it shows by the same functions. It belongs to our own listener: an
application that is mounted in another one has the long way alone.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE

from gateway import app_keys
from gateway.errors import GatewayError
from gateway.handlers import jobs
from gateway.http.authentication import admit, require_visible, visible_owner
from gateway.http.forwarded import client_address, is_https
from gateway.http.middleware import main_middleware
from gateway.http.responses import NO_CACHE, NOSNIFF, is_known, request_id
from gateway.jobs.cache import KnownJob

AnswerAny = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def is_enabled(app: web.Application) -> bool:
    """Whether polls of ``app``, before it starts, may be answered so: it is the gateway's, and
    nobody else has a say in its answers, by a middleware or a signal that would not be asked.
    """
    ours = [main_middleware], 1  # signal, that of CORS
    return (
        app_keys.JOB_CACHE in app and (list(app.middlewares), len(app.on_response_prepare)) == ours
    )


class PollFastPath:
    """Answers polls of one job, and lets ``answer_others`` answer everything else.

    ``app`` is the gateway's application, its routes added. Who came by HTTPS is asked to keep to it
    for ``hsts_max_age`` seconds; 0: nobody is.
    """

    def __init__(
        self, app: web.Application, answer_others: AnswerAny, hsts_max_age: int = 0
    ) -> None:
        self._app = app
        self._answer_others = answer_others
        self._route = app.router["job"].canonical
        self._prefix = self._route.partition("{")[0]
        self._job_route = app[app_keys.ROUTES][jobs.get]
        self._proxies = app[app_keys.TRUSTED_PROXIES]
        self._api_keys = app[app_keys.API_KEYS]
        self._job_cache = app[app_keys.JOB_CACHE]
        self._metrics = app[app_keys.METRICS]
        self._counts = app[app_keys.PROMETHEUS].requests
        self._always = _lines({**NO_CACHE, **NOSNIFF, hdrs.VARY: "Origin"})
        self._https = _lines({hdrs.STRICT_TRANSPORT_SECURITY: f"max-age={hsts_max_age}"})
        self._asks_for_https = hsts_max_age > 0
        self._server = _ServerLines()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to a request of any kind."""
        return self._answer_poll(request) or await self._answer_others(request)

    def _answer_poll(self, request: web.BaseRequest) -> _Written | None:
        """The answer to a poll; None, and nothing has happened, if it has to go the long way."""
        started = time.perf_counter()
        known = self._find(request)
        if known is None:
            return None
        address = client_address(request, self._proxies)
        if not self._admits(request, address, known):
            return None
        request[app_keys.CLIENT_ADDRESS], request[app_keys.REQUEST_ID] = (
            address,
            request_id(request),
        )
        answer = self._show(request, known)
        self._counts.count(hdrs.METH_GET, self._route, answer.status, time.perf_counter() - started)
        return answer

    def _find(self, request: web.BaseRequest) -> KnownJob | None:
        """The job that an ordinary poll asks for, if it is in memory."""
        path = request.raw_path
        if request.method != hdrs.METH_GET or not path.startswith(self._prefix):
            return None
        # Only ids in canonical form are known there: a query, or another route's end, is none.
        known = self._job_cache.peek(path[len(self._prefix) :])
        if known is None or request.version != HttpVersion11 or not request.keep_alive:
            return None
        # Who sends these wants more than the job: to read it from another origin, or to be told
        # beforehand that he may go on.
        headers = request.headers
        return None if hdrs.ORIGIN in headers or hdrs.EXPECT in headers else known

    def _admits(self, request: web.BaseRequest, address: str, known: KnownJob) -> bool:
        """Whether the caller may see the job; if not, the middleware answers why."""
        try:
            # Without `is_local` this refuses the demo key, unless it is open to any address.
            caller = self._api_keys.authenticate(request.headers.get("X-API-Key"), address)
        except GatewayError:
            return False
        try:
            admit(request, self._app, caller, self._job_route.access, self._job_route.scope)
            require_visible(known.job, visible_owner(self._app, caller))
        except GatewayError as error:
            request[app_keys.REFUSAL] = error
            return False
        return True

    def _show(self, request: web.BaseRequest, known: KnownJob) -> _Written:
        """The answer, written out."""
        decision = request.get(app_keys.DECISION)
        limits = "" if decision is None else _lines(decision.fields)
        https = ""
        if self._asks_for_https and is_https(request, self._proxies):
            https = self._https
        head = (
            f"ETag: {known.tag}\r\nX-Request-ID: {request[app_keys.REQUEST_ID]}\r\n"
            f"{self._always}{limits}{https}{self._server.now()}\r\n"
        )
        if is_known(known.tag, request):
            return _Written(304, f"HTTP/1.1 304 Not Modified\r\n{head}".encode())
        body = known.answer(self._metrics.fresh_throughput)
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return _Written(200, f"HTTP/1.1 200 OK\r\n{kind}{head}".encode() + body)


class _Written(web.StreamResponse):
    """A response to HTTP/1.1 whose bytes are known; it keeps the connection open."""

    def __init__(self, status: int, message: bytes) -> None:
        super().__init__(status=status)
        self._message = message
        self._writer: AbstractStreamWriter | None = None

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Nothing is written yet, so that it all is at once."""
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Write all of it."""
        if self._writer is not None:
            await self._writer.write_eof(self._message)


class _ServerLines:
    """The headers that say who answered, and when, made anew each second."""

    def __init__(self) -> None:
        self._made = -1, ""

    def now(self) -> str:
        second, lines = self._made
        moment = int(time.time())
        if moment != second:
            lines = _lines(
                {hdrs.DATE: formatdate(moment, usegmt=True), hdrs.SERVER: SERVER_SOFTWARE}
            )
            self._made = moment, lines
        return lines


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
