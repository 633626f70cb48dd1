"""The async client: submit a cache job, watch it, cancel it. It knows only the wire.

::

    async with GatewayClient("http://localhost:8095", api_key="…") as client:
        job = await client.submit(directories=["00_Media/Farm"])
        status = await client.status(job.id)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

RATE_LIMITED = 429
LONGEST_WAIT = 60.0


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
    """A job's state and progress, as polling shows it. Sizes are in bytes."""

    id: str
    status: str
    total_files: int
    completed_files: int
    failed_files: int
    total_bytes: int
    completed_bytes: int
    percentage: int
    error: str | None

    @property
    def has_ended(self) -> bool:
        """Whether the job is completed, failed or cancelled."""
        return self.status in ("completed", "failed", "cancelled")


class GatewayClient:
    """Speaks to one gateway, as an async context manager.

    ``url`` is where its routes begin: ``http://localhost:8095``, or with the prefix under which
    another service has mounted it.

    A request that the rate limit refuses is repeated when the gateway says that it may be.
    Everything else that goes wrong raises `GatewayClientError`.
    """

    def __init__(self, url: str, api_key: str, *, timeout: float = 60.0) -> None:
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

    async def health(self) -> dict[str, Any]:
        """What the gateway says of itself; raises while it is not healthy."""
        return await self._request("GET", "api/v1/health")

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
        job = (await self._request("GET", f"api/v1/cache/jobs/{job_id}"))["job"]
        files, size = job["progress"]["files"], job["progress"]["size"]
        return JobView(
            id=job["id"],
            status=job["status"],
            total_files=files["total"],
            completed_files=files["completed"],
            failed_files=files["failed"],
            total_bytes=size["totalBytes"],
            completed_bytes=size["completedBytes"],
            percentage=job["progress"]["percentage"],
            error=job["error"],
        )

    async def cancel(self, job_id: str) -> None:
        """Cancel a job that has not ended."""
        await self._request("DELETE", f"api/v1/cache/jobs/{job_id}")

    async def _request(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        while True:
            try:
                async with self._session.request(method, path, **arguments) as response:
                    if response.status != RATE_LIMITED:
                        return await _read(response)
                    wait = min(LONGEST_WAIT, float(response.headers.get("Retry-After", 1)))
            except (aiohttp.ClientError, TimeoutError) as error:
                raise GatewayClientError(f"The gateway cannot be reached: {error}") from error
            await asyncio.sleep(wait)


async def _read(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        body: dict[str, Any] = await response.json()
    except (aiohttp.ContentTypeError, ValueError):
        raise GatewayClientError("The answer is not JSON", response.status) from None
    if response.status >= 400:
        raise GatewayClientError(body["error"], response.status, body.get("details"))
    return body
