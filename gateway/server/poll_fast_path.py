"""A fast path for polls of one job, past the router, the middleware and the handler.

Clients poll a job again and again, and nearly all of these requests end alike: the key is valid
and the job is in the cache. The router and the middleware take three times as long as the answer,
so it is written here directly.

Every other request goes to the application: anything unusual, and each refusal. The answers come
from the same functions. Only the gateway's own listener has the fast path.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE

from gateway.errors import GatewayError
from gateway.handlers import jobs
from gateway.http import app_keys
from gateway.http.authentication import admit, require_visible, visible_owner
from gateway.http.forwarded import client_address, is_https
from gateway.http.middleware import main_middleware
from gateway.http.responses import NO_CACHE, NOSNIFF, is_known, request_id
from gateway.jobs.cache import KnownJob

AnswerAny = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def is_enabled(app: web.Application) -> bool:
    """Whether the fast path may serve ``app``, asked before it starts.

    It must be the gateway's application, and no other middleware or signal may change its answers.
    """
    # The one signal is that of CORS.
    expected = [main_middleware], 1
    actual = list(app.middlewares), len(app.on_response_prepare)
    return app_keys.JOB_CACHE in app and actual == expected


class PollFastPath:
    """Answers polls of one job; ``answer_others`` answers everything else.

    ``app`` is the gateway's application with its routes. ``hsts_max_age`` is in seconds, for
    clients of HTTPS; 0: no HSTS.
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
        self._fixed_lines = _lines({**NO_CACHE, **NOSNIFF, hdrs.VARY: "Origin"})
        self._hsts_line = _lines({hdrs.STRICT_TRANSPORT_SECURITY: f"max-age={hsts_max_age}"})
        self._has_hsts = hsts_max_age > 0
        self._server = _ServerLines()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request of any kind."""
        return self._answer_poll(request) or await self._answer_others(request)

    def _answer_poll(self, request: web.BaseRequest) -> _Written | None:
        """The answer to a poll; None if the application has to answer."""
        started = time.perf_counter()
        cached = self._find(request)
        if cached is None:
            return None
        address = client_address(request, self._proxies)
        if not self._admits(request, address, cached):
            return None
        request[app_keys.CLIENT_ADDRESS] = address
        request[app_keys.REQUEST_ID] = request_id(request)
        answer = self._render(request, cached)
        self._counts.count(hdrs.METH_GET, self._route, answer.status, time.perf_counter() - started)
        return answer

    def _find(self, request: web.BaseRequest) -> KnownJob | None:
        """The cached job that an ordinary poll asks for, if there is one."""
        path = request.raw_path
        if request.method != hdrs.METH_GET or not path.startswith(self._prefix):
            return None
        # The cache holds canonical ids only, so a query or another route's path finds nothing.
        cached = self._job_cache.peek(path[len(self._prefix) :])
        if cached is None or request.version != HttpVersion11 or not request.keep_alive:
            return None
        # CORS and Expect need the application.
        headers = request.headers
        return None if hdrs.ORIGIN in headers or hdrs.EXPECT in headers else cached

    def _admits(self, request: web.BaseRequest, address: str, cached: KnownJob) -> bool:
        """Whether the caller may see the job; if not, the middleware answers the refusal."""
        try:
            # Without `is_local` this refuses the demo key, unless it is open to any address.
            caller = self._api_keys.authenticate(request.headers.get("X-API-Key"), address)
        except GatewayError:
            return False
        try:
            admit(request, self._app, caller, self._job_route.access, self._job_route.scope)
            require_visible(cached.job, visible_owner(self._app, caller))
        except GatewayError as error:
            request[app_keys.REFUSAL] = error
            return False
        return True

    def _render(self, request: web.BaseRequest, cached: KnownJob) -> _Written:
        """The response as bytes."""
        decision = request.get(app_keys.DECISION)
        limits = "" if decision is None else _lines(decision.fields)
        https = ""
        if self._has_hsts and is_https(request, self._proxies):
            https = self._hsts_line
        head = (
            f"ETag: {cached.tag}\r\nX-Request-ID: {request[app_keys.REQUEST_ID]}\r\n"
            f"{self._fixed_lines}{limits}{https}{self._server.now()}\r\n"
        )
        if is_known(cached.tag, request):
            return _Written(304, f"HTTP/1.1 304 Not Modified\r\n{head}".encode())
        body = cached.answer(self._metrics.fresh_throughput)
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return _Written(200, f"HTTP/1.1 200 OK\r\n{kind}{head}".encode() + body)


class _Written(web.StreamResponse):
    """A complete HTTP/1.1 response as bytes; it keeps the connection open."""

    def __init__(self, status: int, message: bytes) -> None:
        super().__init__(status=status)
        self._message = message
        self._writer: AbstractStreamWriter | None = None

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write nothing yet, so that the response is written at once."""
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the response."""
        if self._writer is not None:
            await self._writer.write_eof(self._message)


class _ServerLines:
    """The headers Date and Server, rendered once a second."""

    def __init__(self) -> None:
        self._rendered = -1, ""

    def now(self) -> str:
        second, lines = self._rendered
        moment = int(time.time())
        if moment != second:
            lines = _lines(
                {hdrs.DATE: formatdate(moment, usegmt=True), hdrs.SERVER: SERVER_SOFTWARE}
            )
            self._rendered = moment, lines
        return lines


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
