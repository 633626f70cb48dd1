"""The ledger of claimed items: what is owed to the database for each of them."""

from __future__ import annotations

import pytest

from gateway.worker.in_flight import InFlightTable, ItemReport
from gateway.worker.readers.read_task import ReadOutcome, ReadTask


def make_task(item_id: int = 1, job_id: str = "job", size: int = 100) -> ReadTask:
    return ReadTask(item_id, job_id, f"/media/{item_id}", size)


def outcome(task: ReadTask, error: str | None = None, cancelled: bool = False) -> ReadOutcome:
    return ReadOutcome(task, error, cancelled, 0.1)


@pytest.fixture
def in_flight() -> InFlightTable:
    return InFlightTable()


def owed(in_flight: InFlightTable, job_id: str = "job") -> list[ItemReport]:
    return list(in_flight.reports().get(job_id, []))


def test_a_claimed_item_owes_nothing_until_a_byte_was_read(in_flight: InFlightTable) -> None:
    in_flight.claim(make_task(), 0)
    assert in_flight.reports() == {}
    assert len(in_flight) == 1


def test_bytes_read_are_owed_once(in_flight: InFlightTable) -> None:
    task = make_task()
    in_flight.claim(task, 0)
    task.bytes_read = 40
    reports = owed(in_flight)
    assert reports == [ItemReport(task, "running", None, 40)]
    in_flight.acknowledge(reports)
    assert owed(in_flight) == []
    task.bytes_read = 60
    assert owed(in_flight)[0].reported_bytes == 60


def test_what_was_not_settled_is_owed_again(in_flight: InFlightTable) -> None:
    task = make_task()
    in_flight.claim(task, 0)
    in_flight.end(outcome(task))
    assert owed(in_flight) == owed(in_flight) == [ItemReport(task, "completed", None, 100)]
    assert in_flight.ended == 1


def test_a_file_read_again_from_its_beginning_never_lowers_its_mark(
    in_flight: InFlightTable,
) -> None:
    task = make_task()
    in_flight.claim(task, 70)
    task.bytes_read = 30
    assert owed(in_flight) == []
    task.bytes_read = 71
    assert owed(in_flight)[0].reported_bytes == 71


def test_a_file_that_grew_counts_no_more_than_planned(in_flight: InFlightTable) -> None:
    task = make_task(size=100)
    in_flight.claim(task, 0)
    task.bytes_read = 500
    assert owed(in_flight)[0].reported_bytes == 100
    in_flight.end(outcome(task))
    assert owed(in_flight)[0].reported_bytes == 100


def test_a_file_of_unknown_size_owes_no_bytes(in_flight: InFlightTable) -> None:
    task = make_task(size=0)
    in_flight.claim(task, 0)
    task.bytes_read = 500
    assert owed(in_flight) == []
    in_flight.end(outcome(task))
    assert owed(in_flight) == [ItemReport(task, "completed", None, 0)]


def test_a_failed_file_owes_its_reason_and_takes_back_its_mark(in_flight: InFlightTable) -> None:
    task = make_task()
    in_flight.claim(task, 50)
    in_flight.end(outcome(task, "Input/output error"))
    assert owed(in_flight) == [ItemReport(task, "failed", "Input/output error", 0)]


def test_a_cancelled_file_keeps_its_mark(in_flight: InFlightTable) -> None:
    task = make_task()
    in_flight.claim(task, 50)
    in_flight.end(outcome(task, cancelled=True))
    assert owed(in_flight) == [ItemReport(task, "cancelled", None, 50)]


def test_a_settled_end_is_forgotten(in_flight: InFlightTable) -> None:
    task = make_task()
    in_flight.claim(task, 0)
    in_flight.end(outcome(task))
    in_flight.acknowledge(owed(in_flight))
    assert (len(in_flight), in_flight.ended, in_flight.jobs) == (0, 0, set())


def test_an_end_that_comes_twice_counts_once(in_flight: InFlightTable) -> None:
    task = make_task()
    in_flight.claim(task, 0)
    in_flight.end(outcome(task))
    in_flight.end(outcome(task, "late"))
    assert in_flight.ended == 1
    assert owed(in_flight)[0].status == "completed"


def test_an_item_that_was_given_up_ends_unheard(in_flight: InFlightTable) -> None:
    task = make_task()
    in_flight.claim(task, 0)
    in_flight.give_up()
    in_flight.end(outcome(task))
    assert task.cancelled
    assert (len(in_flight), in_flight.ended, in_flight.reports()) == (0, 0, {})


def test_the_first_reading_of_an_item_that_was_claimed_again_ends_unheard(
    in_flight: InFlightTable,
) -> None:
    first, second = make_task(), make_task()
    in_flight.claim(first, 0)
    in_flight.give_up()
    in_flight.claim(second, 0)
    in_flight.end(outcome(first))
    assert in_flight.ended == 0
    in_flight.end(outcome(second))
    assert [report.task for report in owed(in_flight)] == [second]


def test_a_report_that_settles_after_the_item_was_claimed_again_changes_nothing(
    in_flight: InFlightTable,
) -> None:
    first, second = make_task(), make_task()
    in_flight.claim(first, 0)
    in_flight.end(outcome(first))
    late = owed(in_flight)
    in_flight.give_up()
    in_flight.claim(second, 0)
    in_flight.acknowledge(late)
    assert list(in_flight.items) == [1]
    assert in_flight.ended == 0


def test_stopping_a_job_stops_its_readers_alone(in_flight: InFlightTable) -> None:
    mine, other = make_task(1, "a"), make_task(2, "b")
    in_flight.claim(mine, 0)
    in_flight.claim(other, 0)
    in_flight.stop(["a", "unknown"])
    assert (mine.cancelled, other.cancelled) == (True, False)


def test_reports_are_sorted_by_job(in_flight: InFlightTable) -> None:
    for item_id, job_id in enumerate("abba"):
        task = make_task(item_id, job_id)
        in_flight.claim(task, 0)
        in_flight.end(outcome(task))
    found = {job: [r.task.item_id for r in reports] for job, reports in in_flight.reports().items()}
    assert found == {"a": [0, 3], "b": [1, 2]}
    assert in_flight.jobs == {"a", "b"}


def test_items_count_as_unread_until_they_are_read(in_flight: InFlightTable) -> None:
    tasks = [make_task(1), make_task(2)]
    for task in (*tasks, make_task(3, "other")):
        in_flight.claim(task, 0)
    assert in_flight.unread == {"job": 2, "other": 1}
    in_flight.end(outcome(tasks[0]))
    assert in_flight.unread == {"job": 1, "other": 1}
