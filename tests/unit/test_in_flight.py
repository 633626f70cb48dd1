"""The ledger of claimed items: what is owed to the database for each of them."""

from __future__ import annotations

import pytest

from gateway.worker.in_flight import Batch, ClaimedItem, ItemReport, Ledger
from gateway.worker.readers.read_task import ReadOutcome, ReadTask


def make_task(item_id: int = 1, job_id: str = "job", size: int = 100) -> ReadTask:
    return ReadTask(item_id, job_id, f"/media/{item_id}", size)


def outcome(task: ReadTask, error: str | None = None, cancelled: bool = False) -> ReadOutcome:
    return ReadOutcome(task, error, cancelled, 0.1)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def owed(ledger: Ledger, job_id: str = "job") -> list[ItemReport]:
    return list(ledger.reports().get(job_id, []))


def test_a_claimed_item_owes_nothing_until_a_byte_was_read(ledger: Ledger) -> None:
    ledger.claim(make_task(), 0)
    assert ledger.reports() == {}
    assert len(ledger) == 1


def test_bytes_read_are_owed_once(ledger: Ledger) -> None:
    task = make_task()
    ledger.claim(task, 0)
    task.bytes_read = 40
    reports = owed(ledger)
    assert reports == [ItemReport(task, "running", None, 40)]
    ledger.settle(reports)
    assert owed(ledger) == []
    task.bytes_read = 60
    assert owed(ledger)[0].mark == 60


def test_what_was_not_settled_is_owed_again(ledger: Ledger) -> None:
    task = make_task()
    ledger.claim(task, 0)
    ledger.end(outcome(task))
    assert owed(ledger) == owed(ledger) == [ItemReport(task, "completed", None, 100)]
    assert ledger.ended == 1


def test_a_file_read_again_from_its_beginning_never_lowers_its_mark(ledger: Ledger) -> None:
    task = make_task()
    ledger.claim(task, 70)
    task.bytes_read = 30
    assert owed(ledger) == []
    task.bytes_read = 71
    assert owed(ledger)[0].mark == 71


def test_a_file_that_grew_counts_no_more_than_planned(ledger: Ledger) -> None:
    task = make_task(size=100)
    ledger.claim(task, 0)
    task.bytes_read = 500
    assert owed(ledger)[0].mark == 100
    ledger.end(outcome(task))
    assert owed(ledger)[0].mark == 100


def test_a_file_of_unknown_size_owes_no_bytes(ledger: Ledger) -> None:
    task = make_task(size=0)
    ledger.claim(task, 0)
    task.bytes_read = 500
    assert owed(ledger) == []
    ledger.end(outcome(task))
    assert owed(ledger) == [ItemReport(task, "completed", None, 0)]


def test_a_failed_file_owes_its_reason_and_takes_back_its_mark(ledger: Ledger) -> None:
    task = make_task()
    ledger.claim(task, 50)
    ledger.end(outcome(task, "Input/output error"))
    assert owed(ledger) == [ItemReport(task, "failed", "Input/output error", 0)]


def test_a_cancelled_file_keeps_its_mark(ledger: Ledger) -> None:
    task = make_task()
    ledger.claim(task, 50)
    ledger.end(outcome(task, cancelled=True))
    assert owed(ledger) == [ItemReport(task, "cancelled", None, 50)]


def test_a_settled_end_is_forgotten(ledger: Ledger) -> None:
    task = make_task()
    ledger.claim(task, 0)
    ledger.end(outcome(task))
    ledger.settle(owed(ledger))
    assert (len(ledger), ledger.ended, ledger.jobs) == (0, 0, set())


def test_an_end_that_comes_twice_counts_once(ledger: Ledger) -> None:
    task = make_task()
    ledger.claim(task, 0)
    ledger.end(outcome(task))
    ledger.end(outcome(task, "late"))
    assert ledger.ended == 1
    assert owed(ledger)[0].status == "completed"


def test_an_item_that_was_given_up_ends_unheard(ledger: Ledger) -> None:
    task = make_task()
    ledger.claim(task, 0)
    ledger.give_up()
    ledger.end(outcome(task))
    assert task.cancelled
    assert (len(ledger), ledger.ended, ledger.reports()) == (0, 0, {})


def test_the_first_reading_of_an_item_that_was_claimed_again_ends_unheard(ledger: Ledger) -> None:
    first, second = make_task(), make_task()
    ledger.claim(first, 0)
    ledger.give_up()
    ledger.claim(second, 0)
    ledger.end(outcome(first))
    assert ledger.ended == 0
    ledger.end(outcome(second))
    assert [report.task for report in owed(ledger)] == [second]


def test_a_report_that_settles_after_the_item_was_claimed_again_changes_nothing(
    ledger: Ledger,
) -> None:
    first, second = make_task(), make_task()
    ledger.claim(first, 0)
    ledger.end(outcome(first))
    late = owed(ledger)
    ledger.give_up()
    ledger.claim(second, 0)
    ledger.settle(late)
    assert list(ledger.items) == [1]
    assert ledger.ended == 0


def test_stopping_a_job_stops_its_readers_alone(ledger: Ledger) -> None:
    mine, other = make_task(1, "a"), make_task(2, "b")
    ledger.claim(mine, 0)
    ledger.claim(other, 0)
    ledger.stop(["a", "unknown"])
    assert (mine.cancelled, other.cancelled) == (True, False)


def test_reports_are_sorted_by_job(ledger: Ledger) -> None:
    for item_id, job_id in enumerate("abba"):
        task = make_task(item_id, job_id)
        ledger.claim(task, 0)
        ledger.end(outcome(task))
    found = {job: [r.task.item_id for r in reports] for job, reports in ledger.reports().items()}
    assert found == {"a": [0, 3], "b": [1, 2]}
    assert ledger.jobs == {"a", "b"}


# Batches


def batch_of(ledger: Ledger, *tasks: ReadTask) -> Batch:
    return ledger.claim_batch([ClaimedItem(task, 0) for task in tasks])


async def test_a_batch_is_owed_by_itself_when_all_of_it_is_read(ledger: Ledger) -> None:
    tasks = [make_task(1), make_task(2)]
    batch = batch_of(ledger, *tasks)
    ledger.end(outcome(tasks[0]))
    assert not await batch.is_read_within(0)
    ledger.end(outcome(tasks[1], error="torn"))
    assert await batch.is_read_within(0)
    assert (ledger.reports(), ledger.ended, len(ledger)) == ({}, 0, 2)
    reports = ledger.batch_reports(batch)
    assert [report.status for report in reports] == ["completed", "failed"]
    ledger.settle(reports)
    assert (len(ledger), ledger.ended) == (0, 0)


def test_what_a_batch_leaves_is_owed_with_the_others(ledger: Ledger) -> None:
    tasks = [make_task(1), make_task(2), make_task(3)]
    batch = batch_of(ledger, *tasks)
    ledger.end(outcome(tasks[0]))
    tasks[1].bytes_read = 40
    reports = ledger.batch_reports(batch)
    assert [(it.status, it.mark) for it in reports] == [
        ("completed", 100),
        ("running", 40),
        ("running", 0),
    ]
    ledger.end(outcome(tasks[1]))  # while the report is under way
    ledger.settle(reports)
    assert (len(ledger), ledger.ended) == (2, 1)
    ledger.end(outcome(tasks[2]))
    assert [it.task for it in owed(ledger)] == tasks[1:]
    ledger.settle(owed(ledger))
    assert (len(ledger), ledger.ended) == (0, 0)
    ledger.drop(batch)


def test_a_batch_that_is_dropped_is_read_no_more(ledger: Ledger) -> None:
    tasks = [make_task(1), make_task(2)]
    batch = batch_of(ledger, *tasks)
    ledger.end(outcome(tasks[0]))
    ledger.drop(batch)
    assert all(task.cancelled for task in tasks)
    assert (len(ledger), ledger.ended, ledger.unread) == (0, 0, {})
    ledger.end(outcome(tasks[1]))
    assert (ledger.reports(), ledger.batch_reports(batch)) == ({}, [])


def test_an_item_that_came_again_is_not_dropped_with_its_old_batch(ledger: Ledger) -> None:
    batch = batch_of(ledger, make_task(1))
    ledger.give_up()
    again = make_task(1)
    ledger.claim(again, 0)
    ledger.drop(batch)
    assert (len(ledger), again.cancelled) == (1, False)


def test_items_of_a_batch_count_as_unread_until_they_are_read(ledger: Ledger) -> None:
    tasks = [make_task(1), make_task(2)]
    batch_of(ledger, *tasks)
    ledger.claim(make_task(3, "other"), 0)
    assert ledger.unread == {"job": 2, "other": 1}
    ledger.end(outcome(tasks[0]))
    assert ledger.unread == {"job": 1, "other": 1}
