"""The async client: submit a cache job, watch it, cancel it. It knows only the wire.

::

    async with GatewayClient("http://localhost:8095", api_key="…") as client:
        job = await client.submit(directories=["00_Media/Farm"])
        async for change in client.watch(job.id):
            print(change.job.percentage, "%")
"""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from ssl import SSLContext
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp

from gateway.client.credentials import Token, credentials_for
from gateway.client.errors import GatewayClientError, GatewayUnreachable
from gateway.client.models import (
    FileView,
    JobChange,
    JobFileView,
    JobView,
    Json,
    MetricsView,
    ResolvedPathView,
    SubmittedJob,
    listed,
    read_brief_job,
    read_job,
    read_job_file,
    read_metrics,
    read_resolved,
    read_submitted,
    take,
)
from gateway.client.parsing import MAX_WAIT, page_query, quoted, read_url, read_wait
from gateway.client.redirects import redirects_refused
from gateway.client.retries import now, send_until_answered
from gateway.client.signing import SigningKey

__all__ = [
    "FileView",
    "GatewayClient",
    "GatewayClientError",
    "GatewayUnreachable",
    "JobChange",
    "JobFileView",
    "JobView",
    "MetricsView",
    "ResolvedPathView",
    "SigningKey",
    "SubmittedJob",
]

RATE_LIMITED: Final = 429
REFUSALS: Final = (401, 403, 404)
HEARTBEAT_SECONDS: Final = 20.0
MAX_BACKOFF: Final = 10.0
# A job that is deleted tells nothing: after so long without news it is asked for again.
QUIET_SECONDS: Final = 60.0
MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
PATHS_PER_REQUEST: Final = 10_000


class GatewayClient:
    """Speaks to one gateway, as an async context manager.

    ``url`` is where its routes begin: ``http://localhost:8095``, or with the prefix under which
    another service has mounted it.

    A request that the rate limit refuses is repeated when the gateway says that it may be.
    Everything else that goes wrong raises `GatewayClientError`.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        token: Token | None = None,
        signing_key: SigningKey | None = None,
        timeout: float = 60.0,
        submit_timeout: float = 660.0,
        on_wait: Callable[[float], None] | None = None,
        ssl: SSLContext | None = None,
    ) -> None:
        """``timeout``: seconds that a request may take in all.

        In place of the API key stands one of these: ``token``, a bearer token, or a coroutine
        function without arguments that gives one which still holds, and is asked before each
        request; ``signing_key``, with which each request is signed.
        A submit may take ``submit_timeout``: the gateway gives up after 600 by default.
        ``on_wait`` is told the seconds whenever the gateway makes a request wait: the rate limit
        is reached, or it is busy. ``ssl`` says whose certificates are believed; without it those of
        the system, or of the file that SSL_CERT_FILE names. Raises `GatewayClientError` for what is
        no URL, and unless one proof is given and no more.
        """
        self._on_wait = on_wait
        self._submit_timeout = aiohttp.ClientTimeout(total=submit_timeout)
        # A base URL's path counts only up to its last slash, and only for relative paths.
        base_url = read_url(url.rstrip("/"))
        self._session = aiohttp.ClientSession(
            base_url=base_url,
            connector=aiohttp.TCPConnector(ssl=True if ssl is None else ssl),
            middlewares=(credentials_for(api_key, token, signing_key),),
            timeout=aiohttp.ClientTimeout(total=timeout),
            trace_configs=[redirects_refused()],
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self._session.close()

    async def health(self) -> Json:
        """What the gateway says of itself; raises while it is not healthy."""
        return await self._request("GET", "api/v1/health")

    async def metrics(self) -> MetricsView:
        """The newest throughput and S3 health."""
        answer = await self._request("GET", "api/v1/metrics")
        with _understanding():
            return read_metrics(answer["metrics"])

    async def submit(
        self,
        *,
        files: Sequence[str] = (),
        directories: Sequence[str] = (),
        recursive: bool = True,
        idempotency_key: str | None = None,
        patience: float = 30.0,
    ) -> SubmittedJob:
        """Create a cache job from paths as this machine writes them.

        One whose connection breaks, or that is answered 503, is sent again for ``patience``
        seconds, and makes no second job: it bears ``idempotency_key``, by default a new one. The
        same key (up to 255 printable ASCII characters) gives the same job again for 24 hours.
        """
        body = {"files": listed(files), "directories": listed(directories), "recursive": recursive}
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        headers = {"Idempotency-Key": quoted(key)}
        arguments = {"json": body, "headers": headers, "timeout": self._submit_timeout}
        answer = await send_until_answered(
            lambda: self._request("POST", "api/v1/cache/jobs", **arguments),
            patience,
            self._submit_timeout.total or patience,
            self._on_wait,
        )
        with _understanding():
            return read_submitted(answer)

    async def status(self, job_id: str) -> JobView:
        """A job's state and progress."""
        answer = await self._request("GET", _job_path(job_id))
        with _understanding():
            return read_job(answer["job"])

    async def jobs(
        self, *, status: str | None = None, limit: int = 50, offset: int = 0
    ) -> tuple[Sequence[JobView], int]:
        """A page of jobs, newest first, and how many match in all."""
        query = page_query(status, limit, offset)
        answer = await self._request("GET", "api/v1/cache/jobs", params=query)
        with _understanding():
            return [read_brief_job(job) for job in answer["jobs"]], answer["total"]

    async def files(
        self, job_id: str, *, status: str | None = None, limit: int = 50, offset: int = 0
    ) -> tuple[Sequence[JobFileView], int]:
        """A page of a job's files, as the job holds them, and how many match in all."""
        query = page_query(status, limit, offset)
        answer = await self._request("GET", f"{_job_path(job_id)}/files", params=query)
        with _understanding():
            return [read_job_file(file) for file in answer["files"]], answer["total"]

    async def resolve(self, paths: Sequence[str]) -> Sequence[ResolvedPathView]:
        """What each path means to the gateway, in the order given; nothing is created."""
        paths, resolved = listed(paths), list[ResolvedPathView]()
        for first in range(0, len(paths), PATHS_PER_REQUEST):
            some = paths[first : first + PATHS_PER_REQUEST]
            answer = await self._request("POST", "api/v1/paths/resolve", json={"paths": some})
            with _understanding():
                found = [read_resolved(path) for path in answer["paths"]]
                if len(found) != len(some):
                    raise ValueError
            resolved += found
        return resolved

    async def cancel(self, job_id: str) -> None:
        """Cancel a job that has not ended."""
        await self._request("DELETE", _job_path(job_id))

    async def watch(
        self,
        job_id: str,
        *,
        files: bool = False,
        patience: float = 300.0,
        on_lost: Callable[[], None] | None = None,
    ) -> AsyncGenerator[JobChange, None]:
        """Yield the job as it is, then each change, until it has ended.

        With ``files`` also each file that ends from then on (`files` lists those before). A lost
        connection is made again, and the job is told as it is then; ``on_lost`` is called when
        one is lost. Raises `GatewayClientError` when the gateway refuses (no such job),
        `GatewayUnreachable` when it cannot be reached for ``patience`` seconds.
        """
        failures, given_up_at = 0, now() + patience
        while True:
            is_connected = False
            try:
                async with aclosing(self._watch_once(job_id, files)) as changes:
                    async for change in changes:
                        is_connected = True
                        yield change
                        if change.job.has_ended and change.file is None:
                            return
            except (aiohttp.ClientError, OSError, _Disconnected) as error:
                # Patience begins when the connection is lost, however long it was quiet before.
                if is_connected:
                    failures, given_up_at = 0, now() + patience
                    if on_lost is not None:
                        on_lost()
                if now() >= given_up_at:
                    raise GatewayUnreachable(f"The gateway cannot be reached: {error}") from error
            failures += 1
            # Jitter: clients that lost the same gateway must not all come back at once.
            longest = min(MAX_BACKOFF, 0.25 * 2.0 ** min(failures, 10))
            await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - no secret

    async def _watch_once(self, job_id: str, files: bool) -> AsyncGenerator[JobChange, None]:
        """One connection's life: the snapshot, then what happens."""
        async with await self._connect() as socket:
            job: JobView | None = None
            async for message in _messages(socket, job_id, files):
                with _understanding():
                    if message["type"] == "error":
                        # One that was asked for again, too often, is still told of.
                        if job is None or "retryAfter" not in message:
                            await self._refused(message)
                        continue
                    before, (job, file) = job, take(job, message)
                # What was on its way when the snapshot was made is no change.
                if job is not None and (job != before or file is not None):
                    yield JobChange(message["type"], job, file)
        raise _Disconnected("the connection was lost")

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        try:
            return await self._session.ws_connect(
                "ws", heartbeat=HEARTBEAT_SECONDS, max_msg_size=MAX_MESSAGE_BYTES
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status not in REFUSALS:
                raise
            raise GatewayClientError("The gateway refuses to be watched", error.status) from None
        except ValueError as error:
            raise GatewayClientError(f"The request cannot be sent: {error}") from None

    async def _refused(self, message: Json) -> None:
        """Wait and try again if that helps; else raise what the gateway says."""
        if "retryAfter" not in message:
            raise GatewayClientError(message["error"])
        await asyncio.sleep(min(MAX_WAIT, float(message["retryAfter"])))
        raise _Disconnected(message["error"])

    async def _request(self, method: str, path: str, **arguments: Any) -> Json:
        while True:
            try:
                async with self._session.request(method, path, **arguments) as response:
                    if response.status != RATE_LIMITED:
                        return await _read(response)
                    wait = read_wait(response.headers.get("Retry-After", ""))
            except TimeoutError:
                raise GatewayUnreachable("The gateway did not answer in time") from None
            except (aiohttp.ClientError, OSError) as error:
                raise GatewayUnreachable(f"The gateway cannot be reached: {error}") from error
            except ValueError as error:
                raise GatewayClientError(f"The request cannot be sent: {error}") from None
            if self._on_wait is not None:
                self._on_wait(wait)
            await asyncio.sleep(wait)


class _Disconnected(Exception):
    """The WebSocket is closed before the job has ended."""


async def _read(response: aiohttp.ClientResponse) -> Json:
    try:
        body = await response.json()
    except (aiohttp.ContentTypeError, ValueError):
        raise GatewayClientError("The answer is not JSON", response.status) from None
    if response.status >= 400:
        # A proxy in between has answers of its own.
        told = body if isinstance(body, dict) else {}
        reason = told.get("error") or f"The gateway answered {response.status}"
        after = response.headers.get("Retry-After")
        wait = read_wait(after) if after is not None else None
        raise GatewayClientError(str(reason), response.status, told.get("details"), wait)
    if not isinstance(body, dict):
        raise GatewayClientError("The answer is not understood", response.status)
    return body


async def _messages(
    socket: aiohttp.ClientWebSocketResponse, job_id: str, files: bool
) -> AsyncIterator[Json]:
    """Subscribe, then yield what comes; where the job is quiet for long, subscribe again."""
    loop = asyncio.get_running_loop()
    wanted = {"type": "subscribe", "channel": "job", "jobId": job_id, "files": files}
    asks_at = loop.time()
    while True:
        if loop.time() >= asks_at:
            await socket.send_json(wanted)
            asks_at = loop.time() + QUIET_SECONDS
        try:
            async with asyncio.timeout_at(asks_at):
                data = await socket.receive()
        except TimeoutError:
            continue
        if data.type is not aiohttp.WSMsgType.TEXT:
            return
        message = _read_message(data.data)
        if message.get("jobId") is not None:
            asks_at = loop.time() + QUIET_SECONDS
        yield message


def _read_message(text: str) -> Json:
    try:
        message = json.loads(text)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise _Disconnected("what answers is no gateway")
    return message


@contextmanager
def _understanding() -> Iterator[None]:
    """Reading an answer: one that is none of the gateway's raises `GatewayClientError`."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError):
        raise GatewayClientError("The answer is not understood") from None


def _job_path(job_id: str) -> str:
    # Whatever stands there is an id, and nothing that leads elsewhere.
    return f"api/v1/cache/jobs/{quote(job_id, safe='', errors='replace')}"
