"""Jobs for the tests of lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.job import CreatedJob, Job
from gateway.jobs.store import JobRequest, JobStore, id_of

ROOT = "/media/lucidlink-1"

Query = Callable[..., list[tuple[Any, ...]]]


async def create_listed(store: JobStore, count: int = 3) -> CreatedJob:
    paths = [f"{ROOT}/listed/{number}.mov" for number in range(count)]
    return await store.create(JobRequest(listed_files=paths, paths=paths, sizes=[5] * count))


async def listed(store: JobStore, **wanted: Any) -> tuple[list[Job], int]:
    versions, total = await store.page(**wanted)
    jobs = {job.id: job for job, _ in await store.read([id_of(it) for it in versions])}
    return [jobs[id_of(it)] for it in versions], total
