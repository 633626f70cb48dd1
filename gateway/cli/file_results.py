"""The ends of a job's files: those that are told as they come, and those that came before."""

from __future__ import annotations

from collections.abc import AsyncIterator

from gateway.cli.path_kinds import NOT_FOUND
from gateway.client import (
    FileView,
    GatewayClient,
    GatewayClientError,
    GatewayUnreachable,
    JobChange,
    JobFileView,
)

PAGE = 1000
ENDED = {"completed": "file-completed", "failed": "file-failed"}


class FileEnds:
    """Tells of each file once, in whichever way the gateway told of it; of none if not ``wanted``.

    Files that ended unseen are asked for where there may be some: at the beginning, after a lost
    connection, and at the end, as a client that is slow is not told of all.
    """

    def __init__(self, client: GatewayClient, wanted: bool) -> None:
        self._client = client
        self._wanted = wanted
        self._told: set[str] = set()

    def is_new(self, file: FileView | None) -> bool:
        """Whether nobody was told of it by now; no file is always news."""
        if file is None:
            return True
        is_new = file.path not in self._told
        self._told.add(file.path)
        return is_new

    async def missed_before(self, change: JobChange) -> AsyncIterator[JobChange]:
        """The files that ended before this change, and that nobody was told of."""
        job = change.job
        ended = job.completed_files + job.failed_files
        is_gap = change.kind == "snapshot" or (job.has_ended and change.file is None)
        if not self._wanted or not is_gap or len(self._told) >= ended:
            return
        try:
            async for file in self._listed(job.id):
                view = FileView(file.path, file.size, file.error)
                if file.status in ENDED and self.is_new(view):
                    yield JobChange(ENDED[file.status], job, view)
        except GatewayClientError as error:
            # An older gateway lists none; of one that is away the next snapshot tells.
            is_told_later = isinstance(error, GatewayUnreachable) and not job.has_ended
            if error.status != NOT_FOUND and not is_told_later:
                raise

    async def _listed(self, job_id: str) -> AsyncIterator[JobFileView]:
        offset, total = 0, 1
        while offset < total:
            page, total = await self._client.files(job_id, limit=PAGE, offset=offset)
            for file in page:
                yield file
            offset += len(page) or total
