"""LISTEN: nothing lost, and a lost connection told at once."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from gateway.database import (
    Database,
)
from gateway.errors import DatabaseUnavailable
from gateway.settings import Settings
from support.sessions import (
    UNTIL_SECONDS,
    running,
    terminate_ours,
    until_ours,
    watch_loop,
)


async def test_listening_begins_with_an_empty_payload_and_loses_nothing_after_it(
    empty_database: Settings, database: Database
) -> None:
    async with aclosing(database.listen("news")) as news, asyncio.timeout(UNTIL_SECONDS):
        assert (await anext(news)).channel == ""
        for number in range(50):
            await database.fetch(f"SELECT pg_notify('news', '{number}')")
        assert [(await anext(news)).payload for _ in range(50)] == [str(n) for n in range(50)]
    await until_ours(empty_database, 0, "query LIKE 'LISTEN%'")


async def test_probing_a_quiet_channel_loses_no_notification(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.database.database.LISTEN_PROBE_SECONDS", 0.001)
    async with aclosing(database.listen("news")) as news, asyncio.timeout(UNTIL_SECONDS):
        assert (await anext(news)).channel == ""
        async with running(notify_often(database, 300)):
            assert [(await anext(news)).payload for _ in range(300)] == [str(n) for n in range(300)]


async def notify_often(database: Database, times: int) -> None:
    for number in range(times):
        await database.fetch(f"SELECT pg_notify('news', '{number}')")


async def test_a_lost_listener_is_told_at_once(
    empty_database: Settings, database: Database
) -> None:
    complaints = watch_loop()
    for _ in range(2):  # and may listen again
        async with aclosing(database.listen("news")) as news:
            assert (await anext(news)).channel == ""
            async with running(anext(news)) as waiting:
                await until_ours(empty_database, 1, "query LIKE 'LISTEN%'")
                await asyncio.to_thread(terminate_ours, empty_database)
                async with asyncio.timeout(5):  # far less than the probe's interval
                    with pytest.raises(DatabaseUnavailable):
                        await waiting
    assert complaints == []


async def test_a_listener_that_is_cancelled_closes_its_connection(
    empty_database: Settings, database: Database
) -> None:
    async def listen() -> None:
        async with aclosing(database.listen("news")) as news:
            async for _ in news:
                pass

    task = asyncio.create_task(listen())
    await until_ours(empty_database, 1, "query LIKE 'LISTEN%'")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_ours(empty_database, 0)
