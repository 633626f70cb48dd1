"""Large requests must not delay others: their computations run in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gateway.database import Database
from gateway.database.database import ROWS_PER_FETCH
from gateway.runtime.offload import OFFLOAD_THRESHOLD, run_in_thread_if_large
from gateway.settings import Settings
from support.database import StartApi

JOBS = "/api/v1/cache/jobs"


async def test_large_work_runs_in_a_thread_and_small_work_inline() -> None:
    here = threading.current_thread()
    assert await run_in_thread_if_large(OFFLOAD_THRESHOLD, threading.current_thread) is here
    assert await run_in_thread_if_large(OFFLOAD_THRESHOLD + 1, threading.current_thread) is not here


@pytest.mark.parametrize("amount", [1, OFFLOAD_THRESHOLD + 1])
async def test_errors_of_the_computation_are_raised(amount: int) -> None:
    with pytest.raises(ZeroDivisionError):
        await run_in_thread_if_large(amount, divmod, 1, 0)


@pytest.mark.parametrize(
    "function",
    [
        "gateway.http.request_body._parse",
        "gateway.jobs.submission.resolve_all",
        "gateway.index.path_lookup.array_literal",
        "gateway.jobs.submission._split",
        "gateway.jobs.submission._job_request",
        "gateway.jobs.store._parameters",
    ],
)
async def test_a_large_submit_is_computed_outside_the_loop(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    api = await start_api()
    threads = note_threads(monkeypatch, function)
    names = [f"a/folder/with/a/long/name/for/a/large/body/{number:060}" for number in range(5000)]
    assert (await api.post(JOBS, json={"files": ["one.mov"]})).status == 201
    assert threads.pop() is threading.main_thread()
    threads.clear()
    response = await api.post(JOBS, json={"files": names})
    assert (response.status, (await response.json())["totalFiles"]) == (201, 5000)
    # An empty list is small: it may be computed anywhere.
    assert threads[0] is not threading.main_thread()


def note_threads(monkeypatch: pytest.MonkeyPatch, function: str) -> list[threading.Thread]:
    module, _, name = function.rpartition(".")
    work: Callable[..., Any] = getattr(__import__(module, fromlist=[name]), name)
    threads: list[threading.Thread] = []

    def noting(*args: Any, **kwargs: Any) -> Any:
        threads.append(threading.current_thread())
        return work(*args, **kwargs)

    monkeypatch.setattr(function, noting)
    return threads


@pytest.mark.parametrize(
    "count", [0, 1, ROWS_PER_FETCH, ROWS_PER_FETCH + 1, 5 * ROWS_PER_FETCH - 1]
)
async def test_many_rows_are_complete_and_in_order(shared_database: Settings, count: int) -> None:
    async with Database(shared_database) as database:
        query = "SELECT n FROM generate_series(1, %(count)s) AS n ORDER BY n"
        rows = await database.fetch(query, {"count": count})
    assert [row.n for row in rows] == list(range(1, count + 1))


async def test_reading_many_rows_does_not_block_the_loop(shared_database: Settings) -> None:
    turns = 0
    async with Database(shared_database) as database, database.session() as session:
        count = await session.fetch_one("SELECT 1 AS n")
        assert count.n == 1
        reading = asyncio.create_task(session.fetch("SELECT generate_series(1, 100000) AS n"))
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        assert len(await reading) == 100_000
    assert turns >= 100_000 // ROWS_PER_FETCH
