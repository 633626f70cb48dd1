"""The hub, what is kept for a slow subscriber, and the frames that are written."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import orjson
import pytest
from aiohttp import WSMsgType, web
from hypothesis import given
from hypothesis import strategies as st

from gateway.events.backlog import Backlog
from gateway.events.hub import Event, Hub, text_frame


class Listener:
    def __init__(self) -> None:
        self.told: list[Event] = []

    def offer(self, event: Event) -> None:
        self.told.append(event)


class Broken:
    def offer(self, event: Event) -> None:
        raise RuntimeError("a fault")


def event(kind: str, job_id: str | None = None, kept: bool = False, number: int = 0) -> Event:
    message = {"type": kind, "number": number}
    return Event(message, topics=("a",), job_id=job_id, must_deliver=kept, version=(number,))


def numbers(backlog: Backlog) -> list[int]:
    return [backlog.pop().message["number"] for _ in range(len(backlog))]


def test_an_event_is_told_once_to_each_subscriber_of_any_of_its_topics() -> None:
    hub, both, one, other = Hub(), Listener(), Listener(), Listener()
    for topic in ("a", "b"):
        hub.subscribe(both, topic)
    hub.subscribe(one, "b")
    hub.subscribe(other, "c")
    news = Event({"type": "x"}, topics=("a", "b"))
    hub.publish(news)
    assert (both.told, one.told, other.told) == ([news], [news], [])


def test_who_unsubscribed_is_told_no_more_and_no_topic_stays_behind() -> None:
    hub, listener = Hub(), Listener()
    hub.subscribe(listener, "a")
    assert hub.has_subscribers("a")
    hub.unsubscribe(listener, "a")
    hub.unsubscribe(listener, "a")
    hub.unsubscribe(listener, "never heard of")
    hub.publish(event("x"))
    assert listener.told == []
    assert not hub.has_subscribers("a")
    assert not hub._subscribers


def test_subscribers_may_come_and_go_while_an_event_is_published() -> None:
    hub, late, last = Hub(), Listener(), Listener()

    class Leaving(Listener):
        def offer(self, event: Event) -> None:
            super().offer(event)
            hub.unsubscribe(self, "a")
            hub.subscribe(late, "a")

    leaving = Leaving()
    hub.subscribe(leaving, "a")
    hub.subscribe(last, "a")
    for number in (1, 2):
        hub.publish(event("x", number=number))
    assert [len(who.told) for who in (leaving, last, late)] == [1, 2, 1]


def test_a_subscriber_that_raises_keeps_nobody_from_being_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub, listener = Hub(), Listener()
    hub.subscribe(Broken(), "a")
    hub.subscribe(listener, "a")
    hub.publish(event("x"))
    assert len(listener.told) == 1
    assert "could not be told of x" in caplog.text


def test_an_event_is_serialised_once_however_many_are_told() -> None:
    news = event("x")
    assert news.frame is news.frame
    assert orjson.loads(news.body) == {"type": "x", "number": 0}


def test_of_what_can_be_replaced_the_newest_wins_and_moves_to_the_end() -> None:
    backlog = Backlog()
    backlog.add(event("job-progress", "1", number=1))
    backlog.add(event("job-progress", "2", number=2))
    backlog.add(event("s3-health", number=3))
    backlog.add(event("job-progress", "1", number=4))
    assert numbers(backlog) == [2, 3, 4]
    assert backlog.dropped == 0


def test_ends_of_jobs_are_never_replaced() -> None:
    backlog = Backlog()
    for number in range(3):
        backlog.add(event("job-completed", "1", kept=True, number=number))
    assert numbers(backlog) == [0, 1, 2]


def test_when_it_is_full_the_oldest_that_can_be_replaced_is_dropped_and_counted() -> None:
    backlog = Backlog(limit=3)
    backlog.add(event("job-completed", "1", kept=True, number=1))
    backlog.add(event("job-progress", "2", number=2))
    backlog.add(event("job-progress", "3", number=3))
    backlog.add(event("job-completed", "4", kept=True, number=4))
    assert backlog.take_dropped() == 1
    backlog.add(event("job-progress", "3", number=5))
    assert backlog.take_dropped() == 0
    assert numbers(backlog) == [1, 4, 5]


def test_when_it_is_full_of_what_is_kept_the_new_one_is_dropped_and_counted() -> None:
    backlog = Backlog(limit=2)
    for number in range(4):
        backlog.add(event("job-completed", "1", kept=True, number=number))
    backlog.add(event("s3-health", number=9))
    assert backlog.take_dropped() == 3
    assert backlog.take_dropped() == 0
    assert numbers(backlog) == [0, 1]


def test_what_a_snapshot_has_overtaken_is_discarded_and_nothing_else() -> None:
    backlog = Backlog()
    backlog.add(event("job-started", "1", number=1))
    backlog.add(event("job-progress", "1", number=2))
    backlog.add(event("job-completed", "1", kept=True, number=3))
    backlog.add(event("job-progress", "2", number=1))
    backlog.add(Event({"type": "file-failed", "number": 7}, job_id="1", must_deliver=True))
    backlog.add(Event({"type": "s3-health", "number": 8}))
    backlog.discard_stale({"1": (2,), "3": (9,)})
    assert numbers(backlog) == [3, 1, 7, 8]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("12"), st.booleans()), max_size=60),
    st.integers(1, 8),
)
def test_a_backlog_never_outgrows_its_limit_and_loses_nothing_uncounted(
    added: list[tuple[str, str, bool]], limit: int
) -> None:
    backlog = Backlog(limit=limit)
    kept = 0
    for number, (kind, job_id, is_kept) in enumerate(added):
        backlog.add(event(kind, job_id, is_kept, number))
        kept += is_kept
        assert len(backlog) <= limit
    left = [backlog.pop() for _ in range(len(backlog))]
    order = [e.message["number"] for e in left]
    assert order == sorted(order)
    newest = {(e.type, e.job_id) for e in left if not e.must_deliver}
    assert len(newest) == sum(not e.must_deliver for e in left)
    assert sum(e.must_deliver for e in left) + backlog.dropped >= kept


BORDERS = [0, 1, 125, 126, 127, 65535, 65536, 65537, 1 << 20]


async def test_frames_of_any_length_are_what_a_client_reads(aiohttp_client: Any) -> None:
    texts = ["x" * length for length in BORDERS] + ["ü" * 63, "ü" * 32768, "\0", '"é\U0001f3ac"']
    sent = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        assert request.transport is not None
        for text in texts:
            request.transport.write(text_frame(text.encode()))
            await socket.ping()
        sent.set()
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/", handler)
    client = await aiohttp_client(app)
    async with client.ws_connect("/", max_msg_size=0) as socket:
        for text in texts:
            message = await socket.receive()
            assert message.type is WSMsgType.TEXT
            assert message.data == text
    assert sent.is_set()


def test_a_frame_is_as_long_as_its_head_says() -> None:
    for length, head in itertools.chain(
        ((n, 2) for n in (0, 125)), ((n, 4) for n in (126, 65535)), ((n, 10) for n in (65536,))
    ):
        assert len(text_frame(b"x" * length)) == head + length
