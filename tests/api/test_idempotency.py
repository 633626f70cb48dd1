"""A submit that is sent again with its Idempotency-Key makes no second job, whatever happened."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from gateway.database import Database, connection_arguments
from gateway.database.readiness import Readiness
from gateway.database.sql import load_queries
from gateway.errors import KeyInUse
from gateway.job import CreatedJob
from gateway.jobs.idempotency import Idempotency, IdempotentRequest, StoredResponse
from gateway.jobs.store import JobRequest, JobStore
from gateway.monitors.purge import PurgeMonitor
from gateway.settings import Settings
from support.database import StartApi
from support.index_rows import add_files, count_rows, job_rows, run

JOBS = "/api/v1/cache/jobs"
BODY = {"files": ["a/one.mov", "new.mov"], "directories": ["b"]}
PATIENCE = 30.0
KEPT = "SELECT caller, key FROM teamcache_gateway.idempotency_keys ORDER BY 1, 2"

Submit = Callable[..., Awaitable[Any]]


@pytest.fixture
async def api(start_api: StartApi, database_settings: Settings) -> Any:
    add_files(database_settings, {"a/one.mov": 1, "b/two.mov": 2, "b/c/three.mov": 3})
    return await start_api()


async def submit(api: Any, key: str, body: Any = BODY) -> tuple[int, Any, bytes]:
    """Status, headers, body."""
    async with api.post(JOBS, json=body, headers={"Idempotency-Key": key}) as response:
        return response.status, response.headers, await response.read()


async def is_replayed(api: Any, key: str, first: tuple[int, Any, bytes]) -> bool:
    status, headers, body = await submit(api, key)
    assert (status, body) == (201, first[2])
    assert headers["Location"] == first[1]["Location"]
    return bool(headers.get("Idempotency-Replayed") == "true")


@contextmanager
def locked(settings: Settings, table: str) -> Iterator[None]:
    """Whoever would write into the table waits; reading is free."""
    with closing(psycopg2.connect(**connection_arguments(settings))) as connection:
        connection.cursor().execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield


# What waits but the monitor, which lets go of old keys as soon as the gateway is ready.
WAITING = (
    "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query !~ 'DELETE FROM'"
    " AND datname = current_database()"
)


async def waits_in_database(settings: Settings) -> None:
    async with asyncio.timeout(PATIENCE):
        while not run(settings, f"SELECT pid {WAITING}"):
            await asyncio.sleep(0.02)


def cut_off(settings: Settings) -> None:
    """What waits for a lock loses its connection, as when its gateway were killed."""
    run(settings, f"SELECT pg_terminate_backend(pid) {WAITING}")


# The same request again


async def test_a_submit_that_is_sent_again_gets_the_first_answer(
    api: Any, database_settings: Settings
) -> None:
    first = await submit(api, "k1")
    assert first[0] == 201
    assert "Idempotency-Replayed" not in first[1]
    # The index has moved on, and the job too: the answer has not.
    add_files(database_settings, ["b/four.mov", "new.mov"])
    run(database_settings, "UPDATE cache_jobs SET status = 'running'")
    assert await is_replayed(api, "k1", first)
    run(database_settings, "DELETE FROM files")
    assert await is_replayed(api, "k1", first)
    assert count_rows(database_settings) == (1, 4)


async def test_another_gateway_gives_the_first_answer_too(
    api: Any, start_api: StartApi, database_settings: Settings
) -> None:
    first = await submit(api, "k1")
    assert await is_replayed(await start_api(), "k1", first)
    assert count_rows(database_settings)[0] == 1


async def test_the_same_body_may_be_written_otherwise(api: Any) -> None:
    first = await submit(api, "k1")
    spelled = {"recursive": True, "directories": BODY["directories"], "files": BODY["files"]}
    assert (await submit(api, "k1", spelled))[2] == first[2]


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, "recursive": False},
        {**BODY, "files": ["a/one.mov"]},
        {"directories": BODY["directories"]},
        {"files": [*BODY["files"], *BODY["directories"]]},
    ],
)
async def test_another_body_with_the_same_key_is_refused(
    api: Any, database_settings: Settings, body: Any
) -> None:
    first = await submit(api, "k1")
    async with api.post(JOBS, json=body, headers={"Idempotency-Key": "k1"}) as response:
        assert response.status == 422
        assert await response.json() == {
            "success": False,
            "error": "This Idempotency-Key was used for another request",
        }
    assert await is_replayed(api, "k1", first)
    assert count_rows(database_settings)[0] == 1


async def test_keys_and_submits_without_one_make_jobs_of_their_own(
    api: Any, database_settings: Settings
) -> None:
    answers = [await submit(api, key) for key in ("k1", "K1", '"k1 "')]
    for _ in range(2):
        async with api.post(JOBS, json=BODY) as response:
            answers.append((response.status, response.headers, await response.read()))
    assert [status for status, _headers, _body in answers] == [201] * 5
    assert len({headers["Location"] for _status, headers, _body in answers}) == 5
    assert [row.key for row in run(database_settings, KEPT)] == ["K1", "k1", "k1 "]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"files": ["gone/\0"]}, 400),
        ({"files": []}, 400),
        ({"directories": ["nowhere"]}, 400),
        ({"files": ["x"] * 100_001}, 413),
        ([1], 400),
    ],
)
async def test_a_submit_that_was_refused_leaves_its_key_free(
    api: Any, database_settings: Settings, body: Any, status: int
) -> None:
    assert (await submit(api, "k1", body))[0] == status
    assert run(database_settings, KEPT) == []
    assert (await submit(api, "k1"))[0] == 201


async def test_a_long_list_is_recognised(api: Any, database_settings: Settings) -> None:
    body = {"files": ["a/one.mov", *(f"new/{number}.mov" for number in range(20_000))]}
    first = await submit(api, "k1", body)
    assert first[0] == 201
    assert (await submit(api, "k1", body))[2] == first[2]
    body["files"].reverse()
    assert (await submit(api, "k1", body))[0] == 422
    assert count_rows(database_settings) == (1, 20_001)


# What is a key


@pytest.mark.parametrize(
    "key",
    ["", " ", '"', '""', '"a', 'a"', "a b", "a,b", "a;b=1", '"a";b=1', '"a", "b"', "a\\b", '"\\a"',
     "ä", '"ä"', "a\tb", "x" * 256, f'"{"x" * 256}"'],
)  # fmt: skip
async def test_what_is_no_key_is_refused(api: Any, database_settings: Settings, key: str) -> None:
    status, _headers, body = await submit(api, key)
    assert status == 400
    assert b"Idempotency-Key must be one string of 1 to 255 printable ASCII characters" in body
    assert count_rows(database_settings) == (0, 0)


async def test_two_keys_are_refused(api: Any, database_settings: Settings) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    async with api.post(JOBS, json=BODY, headers=headers) as response:
        assert response.status == 400
    assert count_rows(database_settings) == (0, 0)


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("8e03978e-40d5-43dd-bc93-6894a57f9324",) * 2,
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (r'"a \"b\" \\ c, d; e"', r'a "b" \ c, d; e'),
        ('"\'; DROP TABLE files; --"', "'; DROP TABLE files; --"),
        ("%(caller)s", "%(caller)s"),
        ("x" * 255, "x" * 255),
        ('"' + r"\\" * 255 + '"', "\\" * 255),
        ("QUJD+/=", "QUJD+/="),
    ],
)
async def test_what_is_a_key_is_kept_as_it_is_meant(
    api: Any, database_settings: Settings, sent: str, key: str
) -> None:
    first = await submit(api, sent)
    assert first[0] == 201
    assert run(database_settings, KEPT) == [("default", key)]
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    assert await is_replayed(api, f'"{escaped}"', first)


# Several at once


async def test_while_a_submit_is_answered_others_with_its_key_are_told_so(
    api: Any, start_api: StartApi, database_settings: Settings
) -> None:
    other = await start_api()
    with locked(database_settings, "cache_jobs"):
        first = asyncio.create_task(submit(api, "k1"))
        await waits_in_database(database_settings)
        for gateway in (api, other):
            status, _headers, body = await submit(gateway, "k1")
            assert status == 409
            assert b"still being answered" in body
            assert (await submit(gateway, "k1", {"files": ["a/one.mov"]}))[0] == 409
    assert (await first)[0] == 201
    assert await is_replayed(other, "k1", await first)
    assert count_rows(database_settings)[0] == 1


async def test_of_fifty_at_once_at_two_gateways_one_makes_a_job(
    api: Any, start_api: StartApi, database_settings: Settings
) -> None:
    gateways = [api, await start_api()]
    for key in ("k1", "k2", "k3"):
        answers = await asyncio.gather(*(submit(gateways[n % 2], key) for n in range(50)))
        created = [it for it in answers if it[0] == 201 and "Idempotency-Replayed" not in it[1]]
        assert len(created) == 1
        others = [it for it in answers if it is not created[0]]
        assert {status for status, _headers, _body in others} <= {201, 409}
        assert {body for status, _headers, body in others if status == 201} <= {created[0][2]}
    assert count_rows(database_settings) == (3, 12)


async def test_a_key_that_another_gateway_has_answered_meanwhile_makes_no_job(
    database_settings: Settings,
) -> None:
    """Another gateway may do all of its work between our look-up and our transaction."""
    async with Database(database_settings) as database:
        store, one, other = JobStore(database, 60), Idempotency(database), Idempotency(database)
        attempt = IdempotentRequest("default", "k1", "f")
        request = JobRequest(paths=["/m/a"], sizes=[1])
        async with one.begin(attempt) as first:
            assert first is None
            await store.create(request, other.claim(attempt, respond))
            with pytest.raises(KeyInUse):
                await store.create(request, one.claim(attempt, respond))
        async with one.begin(attempt) as first:
            assert isinstance(first, StoredResponse)
    assert count_rows(database_settings) == (1, 1)


async def test_another_caller_may_have_the_same_key(database_settings: Settings) -> None:
    async with Database(database_settings) as database:
        store, idempotency = JobStore(database, 60), Idempotency(database)
        jobs = {}
        for caller in ("farm", "mam"):
            attempt = IdempotentRequest(caller, "k1", caller)
            async with idempotency.begin(attempt) as first:
                assert first is None
                request = JobRequest(paths=["/m/a"], sizes=[1], submitted_by=caller)
                job = await store.create(request, idempotency.claim(attempt, respond))
                jobs[caller] = job.id
        for caller, job_id in jobs.items():
            async with idempotency.begin(IdempotentRequest(caller, "k1", caller)) as first:
                assert first == StoredResponse(job_id, job_id.encode(), is_replay=True)


def respond(job: CreatedJob) -> StoredResponse:
    return StoredResponse(job.id, job.id.encode())


# Crashes


@pytest.mark.parametrize("table", ["cache_jobs", "teamcache_gateway.idempotency_keys"])
async def test_a_submit_that_is_cut_off_leaves_nothing_and_may_be_sent_again(
    api: Any, database_settings: Settings, table: str
) -> None:
    """Before the job is written, and between the job and its key."""
    with locked(database_settings, table):
        first = asyncio.create_task(submit(api, "k1"))
        await waits_in_database(database_settings)
        cut_off(database_settings)
        assert (await first)[0] == 503
    assert count_rows(database_settings) == (0, 0)
    assert run(database_settings, KEPT) == []
    assert (await submit(api, "k1"))[0] == 201
    assert count_rows(database_settings) == (1, 4)


async def test_who_hangs_up_finds_the_job_by_its_key(api: Any, database_settings: Settings) -> None:
    with locked(database_settings, "cache_jobs"):
        first = asyncio.create_task(submit(api, "k1"))
        await waits_in_database(database_settings)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    async with asyncio.timeout(PATIENCE):
        while (answer := await submit(api, "k1"))[0] == 409:
            await asyncio.sleep(0.02)
    assert answer[0] == 201
    assert count_rows(database_settings) == (1, 4)
    [row] = run(database_settings, "SELECT id::text FROM cache_jobs")
    assert answer[1]["Location"].endswith(row.id)
    assert len(job_rows(database_settings, row.id)) == 4


# Age


def grow_old(settings: Settings, hours: int) -> None:
    run(
        settings,
        "UPDATE teamcache_gateway.idempotency_keys"
        f" SET created_at = created_at - interval '{hours} hours'",
    )


async def test_a_key_is_free_again_after_a_day(api: Any, database_settings: Settings) -> None:
    first = await submit(api, "k1")
    grow_old(database_settings, 23)
    assert await is_replayed(api, "k1", first)
    grow_old(database_settings, 1)
    again = await submit(api, "k1", {"files": ["a/one.mov"]})
    assert again[0] == 201
    assert again[1]["Location"] != first[1]["Location"]
    assert (await submit(api, "k1"))[0] == 422
    assert count_rows(database_settings)[0] == 2


async def test_old_keys_are_deleted_in_batches_and_young_ones_kept(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.monitors.purge.BATCH", 7)
    fill = (
        "INSERT INTO teamcache_gateway.idempotency_keys"
        " SELECT 'default', %s || n, '', %s, '', now() - %s::interval"
        " FROM generate_series(1, 30) AS n"
    )
    run(database_settings, fill, "old", str(uuid.uuid4()), "25 hours")
    run(database_settings, fill, "young", str(uuid.uuid4()), "23 hours")
    readiness = Readiness()
    readiness.set_ready()
    async with Database(database_settings) as database:
        await PurgeMonitor(
            "", database, load_queries("purge")["idempotency_keys"], readiness
        ).check_once()
    left = run(database_settings, KEPT)
    assert len(left) == 30
    assert all(row.key.startswith("young") for row in left)
