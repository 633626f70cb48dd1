"""What ``smoke`` looks at, one function a thing. None changes anything but those of a trial job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from gateway.cli.commands.smoke_probe import NothingToLookAt, NotOffered, NotWorking, Probe
from gateway.cli.formatting import counted
from gateway.cli.path_kinds import NOT_FOUND, submit_paths
from gateway.client import GatewayClient, GatewayClientError
from gateway.formatting import readable_size

API: Final = "api/v1"
WRONG_KEY: Final = "smoke-test-of-a-wrong-key"
# A job that runs may change between two looks.
LOOKS: Final = 4
ENDED: Final = 409


@dataclass(slots=True)
class Trial:
    """What the checks share; ``job_id`` is a job to look at, found on the way.

    ``known`` is known to the gateway by itself where requests are signed; elsewhere it is as
    ``probe`` is, and shows the key.
    """

    probe: Probe
    client: GatewayClient
    known: Probe
    shown: Mapping[str, str]
    path: str | None = None
    job_id: str | None = None

    @property
    def head(self) -> dict[str, str]:
        """What a request shows in its head; one that is signed shows nothing."""
        head = {"apiKey": "X-API-Key", "token": "Authorization"}
        begin = {"token": "Bearer "}
        return {head[kind]: begin.get(kind, "") + proof for kind, proof in self.shown.items()}

    @property
    def job(self) -> str:
        """The id of a job to look at. Raises `NothingToLookAt`."""
        if self.job_id is None:
            raise NothingToLookAt("there is no job")
        return self.job_id


Check = Callable[[Trial], Awaitable[str]]


async def _livez(trial: Trial) -> str:
    _has((await trial.probe.ask("livez")).json(), "success", "status")
    return "the process lives"


async def _health(trial: Trial) -> str:
    report = _has((await trial.probe.ask(f"{API}/health")).json(), "status", "database")
    return f"{report['status']}, database {report['database']}"


async def _metrics(trial: Trial) -> str:
    figures = _has((await trial.probe.ask(f"{API}/metrics")).json(), "metrics")["metrics"]
    return f"{_has(figures, 'lucidLink', 's3Health')['lucidLink']['throughputMbps']:g} MB/s"


async def _prometheus(trial: Trial) -> str:
    answer = await trial.probe.ask(f"{API}/metrics", {"Accept": "text/plain; version=0.0.4"})
    series = [line for line in answer.text.splitlines() if line.startswith("teamcache_gateway_")]
    if not series:
        raise NotWorking("there are no series of ours in the text")
    return f"{len(series)} series"


async def _s3(trial: Trial) -> str:
    health = (await trial.probe.ask(f"{API}/metrics/s3")).json()["s3Health"]
    _has(health, "isHealthy", "latencyHistory")
    words = {True: "healthy", False: "S3 is not healthy", None: "S3 is not checked"}
    return words.get(health["isHealthy"], "?")


async def _wrong_key(trial: Trial) -> str:
    answer = await trial.probe.ask(f"{API}/cache/jobs", {"X-API-Key": WRONG_KEY}, expect=(401, 429))
    return "refused" if answer.status == 401 else "refused, as many wrong ones before it"


async def _list(trial: Trial) -> str:
    jobs, total = await trial.client.jobs(limit=1)
    if jobs:
        trial.job_id = jobs[0].id
    return f"{counted(total, 'job')}"


async def _status(trial: Trial) -> str:
    job = await trial.client.status(trial.job)
    return f"{job.status}, {job.percentage} %"


async def _unchanged(trial: Trial) -> str:
    path, key = f"{API}/cache/jobs/{trial.job}", trial.head
    tag = (await trial.known.ask(path, key)).headers.get("ETag", "")
    for _ in range(LOOKS):
        answer = await trial.known.ask(path, key | {"If-None-Match": tag}, expect=(200, 304))
        if answer.status == 304:
            return "304 while it is unchanged"
        tag = answer.headers.get("ETag", "")
    raise NotWorking("sent again, though nothing has changed")


async def _files(trial: Trial) -> str:
    _, total = await _offered(trial.client.files(trial.job, limit=1))
    return f"{counted(total, 'file')}"


async def _resolve(trial: Trial) -> str:
    [path] = await _offered(trial.client.resolve([trial.path or "smoke-test"]))
    return path.error or f"{path.path!r} is {path.sendable!r}"


async def _first_message(trial: Trial) -> str:
    async with trial.probe.stream() as stream:
        _has(await stream.wait_for("metrics"), "lucidLink", "s3Health")
        await stream.send(type="ping")
        await stream.wait_for("pong")
    return "metrics come without asking"


async def _subscribe(trial: Trial) -> str:
    async with trial.known.stream() as stream:
        if trial.shown:
            await stream.send(type="auth", **trial.shown)
            await stream.wait_for("authenticated")
        await stream.send(type="subscribe", channel="jobs")
        jobs = _has(await stream.wait_for("snapshot"), "jobs")["jobs"]
    return f"a snapshot of {counted(len(jobs), 'job')}"


async def _openapi(trial: Trial) -> str:
    answer = await trial.probe.ask_for_extra(f"{API}/openapi.json")
    return f"{len(_has(answer.json(), 'openapi', 'paths')['paths'])} paths described"


async def _docs(trial: Trial) -> str:
    return _page((await trial.probe.ask_for_extra("docs")).headers)


async def _dashboard(trial: Trial) -> str:
    return _page((await trial.probe.ask_for_extra("")).headers)


async def _submit(trial: Trial) -> str:
    trial.job_id = None
    job = await submit_paths(trial.client, [trial.path or ""], False, True)
    trial.job_id = job.id
    return f"{counted(job.total_files, 'file')}, {readable_size(job.total_bytes)}"


async def _watch(trial: Trial) -> str:
    async with aclosing(trial.client.watch(trial.job, patience=0)) as changes:
        async for change in changes:
            return f"first seen {change.job.status}, {change.job.percentage} %"
    raise NotWorking("nothing was told")


async def _cancel(trial: Trial) -> str:
    try:
        await trial.client.cancel(trial.job)
    except GatewayClientError as error:
        if error.status != ENDED:
            raise
    async with aclosing(trial.client.watch(trial.job, patience=0)) as changes:
        async for change in changes:
            if change.job.has_ended:
                return f"the job is {change.job.status}"
    raise NotWorking("its end was not told")


READING: Final[Mapping[str, Check]] = {
    "GET /livez": _livez,
    "GET /api/v1/health": _health,
    "GET /api/v1/metrics": _metrics,
    "GET /api/v1/metrics for Prometheus": _prometheus,
    "GET /api/v1/metrics/s3": _s3,
    "a wrong key": _wrong_key,
    "GET /api/v1/cache/jobs": _list,
    "GET /api/v1/cache/jobs/{id}": _status,
    "GET /api/v1/cache/jobs/{id} with its ETag": _unchanged,
    "GET /api/v1/cache/jobs/{id}/files": _files,
    "POST /api/v1/paths/resolve": _resolve,
    "WebSocket /ws": _first_message,
    "WebSocket /ws with the key": _subscribe,
    "GET /api/v1/openapi.json": _openapi,
    "GET /docs": _docs,
    "GET / (dashboard)": _dashboard,
}

SUBMITTING: Final[Mapping[str, Check]] = {
    "POST /api/v1/cache/jobs": _submit,
    "WebSocket /ws, watching the job": _watch,
    "DELETE /api/v1/cache/jobs/{id}": _cancel,
}


async def _offered(asking: Awaitable[Any]) -> Any:
    try:
        return await asking
    except GatewayClientError as error:
        if error.status == NOT_FOUND:
            raise NotOffered from None
        raise


def _has(body: Any, *names: str) -> Any:
    """``body``, which must be an object with these names."""
    missing = [name for name in names if not isinstance(body, dict) or name not in body]
    if missing:
        raise NotWorking(f"the answer lacks {', '.join(missing)}")
    return body


def _page(headers: Mapping[str, str]) -> str:
    if not headers.get("Content-Type", "").startswith("text/html"):
        raise NotWorking("what is answered is no page")
    return "a page"
