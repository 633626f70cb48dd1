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
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

import aiohttp

RATE_LIMITED: Final = 429
REFUSALS: Final = (401, 403, 404)
LONGEST_WAIT: Final = 60.0
HEARTBEAT_SECONDS: Final = 20.0
LONGEST_BACKOFF: Final = 10.0
LONGEST_MESSAGE: Final = 32 * 1024 * 1024

Json = Mapping[str, Any]


class GatewayClientError(Exception):
    """The gateway refused a request, or could not be reached.

    ``status`` is the HTTP status, None if there was no answer; ``details`` as the gateway sent
    them.
    """

    def __init__(self, message: str, status: int | None = None, details: Any = None) -> None:
        self.status = status
        self.details = details
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """A job as the gateway created it. Sizes are in bytes."""

    id: str
    status: str
    total_files: int
    total_bytes: int
    unindexed: Sequence[str]


@dataclass(frozen=True, slots=True)
class JobView:
    """A job's state and progress. Sizes are in bytes, ``percentage`` is 0 to 100.

    ``seconds_left`` and ``mbps`` (MiB/s) are None where the gateway does not know them.
    """

    id: str
    status: str
    total_files: int
    completed_files: int
    failed_files: int
    total_bytes: int
    completed_bytes: int
    percentage: int
    error: str | None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    seconds_left: int | None = None
    mbps: float | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the job is completed, failed or cancelled."""
        return self.status in ("completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class FileView:
    """How a file of a job ended; ``path`` is relative to its filespace.

    ``size`` is in bytes, None if unknown; ``error`` is None if the file was read.
    """

    path: str
    size: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class JobChange:
    """What `GatewayClient.watch` yields: the job as it is now, and the file that ended, if one did.

    ``kind`` is the message's type: ``snapshot``, ``job-progress``, ``file-failed``, ….
    """

    kind: str
    job: JobView
    file: FileView | None = None


@dataclass(frozen=True, slots=True)
class MetricsView:
    """The newest figures. ``mbps`` is in MiB/s, latencies are in milliseconds."""

    mbps: float
    s3_is_healthy: bool | None
    s3_latency: int | None
    s3_average_latency: int | None


class GatewayClient:
    """Speaks to one gateway, as an async context manager.

    ``url`` is where its routes begin: ``http://localhost:8095``, or with the prefix under which
    another service has mounted it.

    A request that the rate limit refuses is repeated when the gateway says that it may be.
    Everything else that goes wrong raises `GatewayClientError`.
    """

    def __init__(self, url: str, api_key: str, *, timeout: float = 60.0) -> None:
        """``timeout``: seconds that a request may take in all."""
        self._api_key = api_key
        self._session = aiohttp.ClientSession(
            # A base URL's path counts only up to its last slash, and only for relative paths.
            base_url=f"{url.rstrip('/')}/",
            headers={"X-API-Key": api_key},
            timeout=aiohttp.ClientTimeout(total=timeout),
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
        figures = (await self._request("GET", "api/v1/metrics"))["metrics"]
        health = figures["s3Health"]
        return MetricsView(
            mbps=figures["lucidLink"]["throughputMbps"],
            s3_is_healthy=health["isHealthy"],
            s3_latency=health["latency"],
            s3_average_latency=health["averageLatency"],
        )

    async def submit(
        self,
        *,
        files: Sequence[str] = (),
        directories: Sequence[str] = (),
        recursive: bool = True,
    ) -> SubmittedJob:
        """Create a cache job from paths as this machine writes them."""
        body = {"files": list(files), "directories": list(directories), "recursive": recursive}
        answer = await self._request("POST", "api/v1/cache/jobs", json=body)
        return SubmittedJob(
            id=answer["jobId"],
            status=answer["status"],
            total_files=answer["totalFiles"],
            total_bytes=answer["totalSize"]["bytes"],
            unindexed=answer["unindexed"],
        )

    async def status(self, job_id: str) -> JobView:
        """A job's state and progress."""
        return _read_job((await self._request("GET", f"api/v1/cache/jobs/{job_id}"))["job"])

    async def jobs(
        self, *, status: str | None = None, limit: int = 50, offset: int = 0
    ) -> tuple[Sequence[JobView], int]:
        """A page of jobs, newest first, and how many match in all."""
        query = {"limit": str(limit), "offset": str(offset)} | (
            {"status": status} if status else {}
        )
        answer = await self._request("GET", "api/v1/cache/jobs", params=query)
        return [_read_brief_job(job) for job in answer["jobs"]], answer["total"]

    async def cancel(self, job_id: str) -> None:
        """Cancel a job that has not ended."""
        await self._request("DELETE", f"api/v1/cache/jobs/{job_id}")

    async def watch(
        self, job_id: str, *, files: bool = False, patience: float = 300.0
    ) -> AsyncIterator[JobChange]:
        """Yield the job as it is, then each change, until it has ended.

        With ``files`` also each file that ended. A lost connection is made again, and the job is
        told as it is then. Raises `GatewayClientError` when the gateway refuses (no such job), or
        cannot be reached for ``patience`` seconds.
        """
        failures, given_up_at = 0, _now() + patience
        while True:
            is_connected = False
            try:
                async with aclosing(self._watch_once(job_id, files)) as changes:
                    async for change in changes:
                        is_connected = True
                        yield change
                        if change.job.has_ended and change.file is None:
                            return
            except (aiohttp.ClientError, OSError, TimeoutError, _Disconnected) as error:
                # Patience begins when the connection is lost, however long it was quiet before.
                if is_connected:
                    failures, given_up_at = 0, _now() + patience
                if _now() >= given_up_at:
                    raise GatewayClientError(f"The gateway cannot be reached: {error}") from error
            failures += 1
            # Jitter: clients that lost the same gateway must not all come back at once.
            longest = min(LONGEST_BACKOFF, 0.25 * 2.0 ** min(failures, 10))
            await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - no secret

    async def _watch_once(self, job_id: str, files: bool) -> AsyncGenerator[JobChange, None]:
        """One connection's life: the snapshot, then what happens."""
        async with await self._connect() as socket:
            await socket.send_json(
                {"type": "subscribe", "channel": "job", "jobId": job_id, "files": files}
            )
            job: JobView | None = None
            async for data in socket:
                if data.type is not aiohttp.WSMsgType.TEXT:
                    break
                message = json.loads(data.data)
                if message["type"] == "error":
                    await self._refused(message)
                elif message["type"] == "snapshot":
                    job = _read_job(message["job"])
                    yield JobChange("snapshot", job)
                elif job is not None and message.get("jobId") == job.id:
                    job, file = _take(job, message)
                    yield JobChange(message["type"], job, file)
        raise _Disconnected("the connection was lost")

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        try:
            return await self._session.ws_connect(
                "ws", heartbeat=HEARTBEAT_SECONDS, max_msg_size=LONGEST_MESSAGE
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in REFUSALS:
                raise GatewayClientError(
                    "The gateway refuses to be watched", error.status
                ) from None
            raise

    async def _refused(self, message: Json) -> None:
        """Wait and try again if that helps; else raise what the gateway says."""
        if "retryAfter" not in message:
            raise GatewayClientError(message["error"])
        await asyncio.sleep(min(LONGEST_WAIT, float(message["retryAfter"])))
        raise _Disconnected(message["error"])

    async def _request(self, method: str, path: str, **arguments: Any) -> Json:
        while True:
            try:
                async with self._session.request(method, path, **arguments) as response:
                    if response.status != RATE_LIMITED:
                        return await _read(response)
                    wait = min(LONGEST_WAIT, float(response.headers.get("Retry-After", 1)))
            except (aiohttp.ClientError, TimeoutError) as error:
                raise GatewayClientError(f"The gateway cannot be reached: {error}") from error
            await asyncio.sleep(wait)


class _Disconnected(Exception):
    """The WebSocket is closed before the job has ended."""


async def _read(response: aiohttp.ClientResponse) -> Json:
    try:
        body: dict[str, Any] = await response.json()
    except (aiohttp.ContentTypeError, ValueError):
        raise GatewayClientError("The answer is not JSON", response.status) from None
    if response.status >= 400:
        raise GatewayClientError(body["error"], response.status, body.get("details"))
    return body


def _read_job(job: Json) -> JobView:
    return JobView(
        id=job["id"],
        status=job["status"],
        error=job["error"],
        created_at=_read_time(job["createdAt"]),
        started_at=_read_time(job["startedAt"]),
        completed_at=_read_time(job["completedAt"]),
        seconds_left=job["eta"]["seconds"] if job["eta"] else None,
        mbps=job["throughput"]["mbps"] if job["throughput"] else None,
        **_read_progress(job["progress"]),
    )


def _read_brief_job(job: Json) -> JobView:
    return JobView(
        id=job["id"],
        status=job["status"],
        total_files=job["totalFiles"],
        completed_files=job["completedFiles"],
        failed_files=job["failedFiles"],
        total_bytes=job["totalSizeBytes"],
        completed_bytes=job["completedSizeBytes"],
        percentage=job["percentage"],
        error=job["error"],
        created_at=_read_time(job["createdAt"]),
        started_at=_read_time(job["startedAt"]),
        completed_at=_read_time(job["completedAt"]),
    )


def _read_progress(progress: Json) -> dict[str, int]:
    files, size = progress["files"], progress["size"]
    return {
        "total_files": files["total"],
        "completed_files": files["completed"],
        "failed_files": files["failed"],
        "total_bytes": size["totalBytes"],
        "completed_bytes": size["completedBytes"],
        "percentage": progress["percentage"],
    }


def _take(job: JobView, message: Json) -> tuple[JobView, FileView | None]:
    """The job after a message, and the file that it tells of, if it tells of one."""
    if message["type"].startswith("file-"):
        return job, FileView(message["filePath"], message["sizeBytes"], message["error"])
    return (
        JobView(
            id=job.id,
            status=message["status"],
            error=message["error"],
            created_at=job.created_at,
            started_at=job.started_at,
            completed_at=job.completed_at,
            **_read_progress(message["progress"]),
        ),
        None,
    )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _read_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
