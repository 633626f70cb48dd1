"""Items from their claim until the database has their end. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gateway.worker.readers.read_task import ReadOutcome, ReadTask

ItemStatus = Literal["running", "completed", "failed", "cancelled"]


class ItemReport(NamedTuple):
    """How an item ended, or how far a running one has got: ``reported_bytes``."""

    task: ReadTask
    status: ItemStatus
    error: str | None
    reported_bytes: int


class ClaimedItem(NamedTuple):
    """An item that this worker is to read; ``reported_bytes`` of it were counted before."""

    task: ReadTask
    reported_bytes: int


@dataclass(slots=True)
class _Entry:
    """A claimed item; the database has counted ``reported_bytes`` of it, as far as we know."""

    task: ReadTask
    reported_bytes: int
    outcome: ReadOutcome | None = None


class InFlightTable:
    """The claimed items whose end is not reported yet.

    The reported bytes of a running item only rise, also when it comes from a worker that died and
    is read again from its beginning. So a job's progress never falls.
    """

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._unread: Counter[str] = Counter()
        self.ended = 0
        """Items that ended and are not reported yet."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def items(self) -> Sequence[int]:
        """The ids of the items here."""
        return list(self._entries)

    @property
    def jobs(self) -> set[str]:
        """The ids of the jobs that have items here."""
        return {entry.task.job_id for entry in self._entries.values()}

    @property
    def unread(self) -> Mapping[str, int]:
        """The number of items by job that wait for a reader, or are being read."""
        self._unread = +self._unread  # without the jobs that have none
        return dict(self._unread)

    def unread_among(self, counts: Callable[[str], bool]) -> Mapping[str, int]:
        """The same for the items whose path ``counts``."""
        return Counter(
            entry.task.job_id
            for entry in self._entries.values()
            if entry.outcome is None and counts(entry.task.path)
        )

    def claim(self, task: ReadTask, reported_bytes: int) -> None:
        """Enter an item, of which earlier reads have reported some bytes."""
        self._entries[task.item_id] = _Entry(task, reported_bytes)
        self._unread[task.job_id] += 1

    def end(self, outcome: ReadOutcome) -> None:
        """Note how the read of an item ended. An item that was given up is ignored."""
        entry = self._entries.get(outcome.task.item_id)
        if entry is None or entry.task is not outcome.task or entry.outcome is not None:
            return
        entry.outcome = outcome
        self._unread[outcome.task.job_id] -= 1
        self.ended += 1

    def stop(self, job_ids: Iterable[str]) -> None:
        """Have the readers stop reading the items of these jobs."""
        stopped = set(job_ids)
        for entry in self._entries.values():
            if entry.task.job_id in stopped:
                entry.task.cancelled = True

    def give_up(self) -> None:
        """Forget everything, and have the readers stop: the items belong to other workers now."""
        self.stop(self.jobs)
        self._entries.clear()
        self._unread.clear()
        self.ended = 0

    def reports(self) -> Mapping[str, Sequence[ItemReport]]:
        """What the database does not have yet, by job: ends, and bytes that have risen."""
        reports: defaultdict[str, list[ItemReport]] = defaultdict(list)
        for entry in self._entries.values():
            if report := _report(entry):
                reports[entry.task.job_id].append(report)
        return reports

    def acknowledge(self, reports: Iterable[ItemReport]) -> None:
        """Note that the database has these reports."""
        for report in reports:
            entry = self._entries.get(report.task.item_id)
            if entry is None or entry.task is not report.task:
                continue  # given up meanwhile
            entry.reported_bytes = report.reported_bytes
            if report.status != "running":
                del self._entries[report.task.item_id]
                self.ended -= 1


def _report(entry: _Entry) -> ItemReport | None:
    task, outcome = entry.task, entry.outcome
    if outcome is None:
        read = min(task.bytes_read, task.size)
        return ItemReport(task, "running", None, read) if read > entry.reported_bytes else None
    if outcome.cancelled:
        return ItemReport(task, "cancelled", None, entry.reported_bytes)
    if outcome.error is not None:
        return ItemReport(task, "failed", outcome.error, 0)
    return ItemReport(task, "completed", None, task.size)
