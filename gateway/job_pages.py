"""Pages of jobs as lists show them: what has not changed since it was shown is not made again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import orjson

from gateway.job_store import JobStore, id_of
from gateway.jobs import JobStatus
from gateway.wire import job_in_brief

REMEMBERED_JOBS: Final = 2000
REMEMBERED_BYTES: Final = 4096
"""What a job may have to be remembered: an error may be as long as a worker likes."""


class JobPages:
    """Asks the database for each page anew, but only for versions of jobs; remembers these."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._shown: OrderedDict[str, bytes] = OrderedDict()

    async def get(
        self,
        status: JobStatus | None = None,
        limit: int = 50,
        offset: int = 0,
        submitted_by: str | None = None,
    ) -> tuple[Sequence[bytes], int]:
        """A page of jobs, newest first, each in brief as JSON; and how many match in all.

        ``submitted_by`` is the name of the key whose jobs are meant; None: everybody's.
        """
        versions, total = await self._store.page(status, limit, offset, submitted_by)
        missing = [version for version in versions if version not in self._shown]
        if not missing:
            return [self._shown[version] for version in versions], total
        # By id: what is read now may be newer than what the page told of, or be gone.
        shown = {id_of(version): self._shown.get(version) for version in versions}
        shown |= await self._read([id_of(version) for version in missing])
        return [text for text in shown.values() if text is not None], total

    async def _read(self, job_ids: Sequence[str]) -> dict[str, bytes]:
        shown: dict[str, bytes] = {}
        for job, version in await self._store.read(job_ids):
            shown[job.id] = text = orjson.dumps(job_in_brief(job))
            if version is not None and len(text) <= REMEMBERED_BYTES:
                self._shown[version] = text
        while len(self._shown) > REMEMBERED_JOBS:
            self._shown.popitem(last=False)
        return shown
