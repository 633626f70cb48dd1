"""Jobs as they were just read: most polls are answered from memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Final

import orjson

from gateway.formatting import utc_now
from gateway.job import Job, JobStatus, Progress, version_of
from gateway.metrics.latest import Throughput
from gateway.runtime.single_flight import SingleFlight
from gateway.schemas.responses import JobFound
from gateway.schemas.serializers import serialize_job

FRESH_SECONDS: Final = 1.0
REMEMBERED_JOBS: Final = 10_000


@dataclass(frozen=True)
class KnownJob:
    """A job, and when it was asked for, by the cache's clock."""

    job: Job
    read_at: float
    _answers: dict[Throughput | None, bytes] = field(default_factory=dict, compare=False)

    @cached_property
    def tag(self) -> str:
        """What changes whenever the job does, as an ETag: weak, for throughput and ETA may move."""
        return f'W/"{blake2b(repr(self.job).encode(), digest_size=12).hexdigest()}"'

    def answer(self, throughput: Throughput | None) -> bytes:
        """The job as reading it shows it, in JSON; put together once a sample of the throughput."""
        if throughput not in self._answers:
            shown: JobFound = {
                "success": True,
                "job": serialize_job(self.job, throughput, utc_now()),
            }
            self._answers.clear()
            self._answers[throughput] = orjson.dumps(shown)
        return self._answers[throughput]


class JobCache:
    """Keeps a job for a second after it was read, and what is announced of it until then.

    Not every column of a job is announced when it changes, so nothing is kept for longer. While
    announcements are in doubt (`doubt`, until `trust`) every job is read from the database, once
    for all who ask before a reading of it begins.
    """

    def __init__(
        self, read: Callable[[str], Awaitable[Job]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._is_trusted = False
        self._known: OrderedDict[str, KnownJob] = OrderedDict()
        # Jobs that are being read, as long as nothing is announced of them.
        self._unchanged: set[str] = set()
        self._reads = SingleFlight(self._read_unless_known)

    async def get(self, job_id: str) -> KnownJob:
        """The job, at most a second old. Raises what reading it raises, `JobNotFound` above all."""
        return self.peek(job_id) or await self._reads.get(job_id)

    def peek(self, job_id: str) -> KnownJob | None:
        """The job if it is known, under its id in canonical form; None: it has to be read."""
        known = self._known.get(job_id)
        return None if known is None or self._is_stale(known) else known

    def take(self, job_id: str, status: JobStatus, progress: Progress) -> None:
        """Take in what was announced of a job."""
        known = self._known.get(job_id)
        # Of a job in another state more has changed than its counters.
        if known is None or known.job.status is not status or progress.lacks_sizes:
            self.drop(job_id)
            return
        self._unchanged.discard(job_id)
        if version_of(status, progress) > known.job.version:
            self._known[job_id] = KnownJob(replace(known.job, progress=progress), known.read_at)

    def drop(self, job_id: str) -> None:
        """Forget a job, which has changed; whoever is reading it now may have read the old one."""
        self._known.pop(job_id, None)
        self._unchanged.discard(job_id)

    def trust(self) -> None:
        """From now on changes are announced."""
        self._is_trusted = True

    def doubt(self) -> None:
        """From now on changes may not be announced."""
        self._is_trusted = False
        self._known.clear()
        self._unchanged.clear()

    async def _read_unless_known(self, job_id: str) -> KnownJob:
        """The job as the reading before has found it, which may be enough, or else read now."""
        if known := self.peek(job_id):
            return known
        self._unchanged.add(job_id)
        try:
            # Before the reading: the job is as old as the moment in which it was read.
            asked_at = self._clock()
            known = KnownJob(await self._read(job_id), asked_at)
            if self._is_trusted and job_id in self._unchanged:
                self._keep(job_id, known)
            return known
        finally:
            self._unchanged.discard(job_id)

    def _keep(self, job_id: str, known: KnownJob) -> None:
        self._known[job_id] = known
        self._known.move_to_end(job_id)
        if len(self._known) > REMEMBERED_JOBS:
            self._known.popitem(last=False)
        self._forget_stale()

    def _forget_stale(self) -> None:
        """Let go of what no poll gets any more: a job that nobody asks for again would stay."""
        while self._known and self._is_stale(next(iter(self._known.values()))):
            self._known.popitem(last=False)

    def _is_stale(self, known: KnownJob) -> bool:
        return self._clock() - known.read_at >= FRESH_SECONDS
