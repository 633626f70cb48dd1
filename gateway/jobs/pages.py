"""Pages of jobs as lists show them: what has not changed since it was shown is not made again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from gateway.job import JobStatus
from gateway.jobs.store import JobStore, id_of
from gateway.runtime.single_flight import SingleFlight
from gateway.schemas.serializers import serialize_job_summary

REMEMBERED_JOBS: Final = 2000
REMEMBERED_BYTES: Final = 4096
"""What a job may have to be remembered: an error may be as long as a worker likes."""


class PageOfJobs(NamedTuple):
    """Which jobs are meant. ``submitted_by`` is the name of a key; None: everybody's."""

    status: JobStatus | None = None
    limit: int = 50
    offset: int = 0
    submitted_by: str | None = None


class JobPages:
    """Asks the database for each page anew, but only for versions of jobs; remembers these."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._shown: OrderedDict[str, bytes] = OrderedDict()
        self._reads = SingleFlight(self._make)

    async def get(self, wanted: PageOfJobs) -> bytes:
        """A page of jobs, newest first, as JSON of the shape `JobsListed`."""
        return await self._reads.get(wanted)

    async def _make(self, wanted: PageOfJobs) -> bytes:
        versions, total = await self._store.page(*wanted)
        missing = [id_of(version) for version in versions if version not in self._shown]
        # By id: what is read now may be newer than what the page told of, or be gone.
        shown = {id_of(version): self._shown.get(version) for version in versions}
        if missing:
            shown |= await self._read(missing)
        jobs = b",".join(text for text in shown.values() if text is not None)
        return b'{"success":true,"jobs":[%b],"total":%d}' % (jobs, total)

    async def _read(self, job_ids: Sequence[str]) -> dict[str, bytes]:
        shown: dict[str, bytes] = {}
        for job, version in await self._store.read(job_ids):
            shown[job.id] = text = orjson.dumps(serialize_job_summary(job))
            if version is not None and len(text) <= REMEMBERED_BYTES:
                self._shown[version] = text
        while len(self._shown) > REMEMBERED_JOBS:
            self._shown.popitem(last=False)
        return shown
