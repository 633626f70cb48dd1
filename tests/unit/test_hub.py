"""The hub, the backlog of a slow subscriber, and WebSocket frames."""

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
        self.received: list[Event] = []

    def offer(self, event: Event) -> None:
        self.received.append(event)


class Broken:
    def offer(self, event: Event) -> None:
        raise RuntimeError("a fault")


def event(
    kind: str, job_id: str | None = None, must_deliver: bool = False, number: int = 0
) -> Event:
    message = {"type": kind, "number": number}
    return Event(
        message, topics=("a",), job_id=job_id, must_deliver=must_deliver, version=(number,)
    )


def numbers(backlog: Backlog) -> list[int]:
    return [backlog.pop().message["number"] for _ in range(len(backlog))]


def test_each_subscriber_gets_an_event_once() -> None:
    hub, both, one, other = Hub(), Listener(), Listener(), Listener()
    for topic in ("a", "b"):
        hub.subscribe(both, topic)
    hub.subscribe(one, "b")
    hub.subscribe(other, "c")
    published = Event({"type": "x"}, topics=("a", "b"))
    hub.publish(published)
    assert (both.received, one.received, other.received) == ([published], [published], [])


def test_unsubscribing_ends_delivery_and_removes_the_topic() -> None:
    hub, listener = Hub(), Listener()
    hub.subscribe(listener, "a")
    assert hub.has_subscribers("a")
    hub.unsubscribe(listener, "a")
    hub.unsubscribe(listener, "a")
    hub.unsubscribe(listener, "unknown")
    hub.publish(event("x"))
    assert listener.received == []
    assert not hub.has_subscribers("a")
    assert not hub._subscribers


def test_subscribers_may_change_while_an_event_is_published() -> None:
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
    assert [len(each.received) for each in (leaving, last, late)] == [1, 2, 1]


def test_a_subscriber_that_raises_does_not_affect_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub, listener = Hub(), Listener()
    hub.subscribe(Broken(), "a")
    hub.subscribe(listener, "a")
    hub.publish(event("x"))
    assert len(listener.received) == 1
    assert "a subscriber failed on the event x" in caplog.text


def test_an_event_is_serialised_once() -> None:
    published = event("x")
    assert published.frame is published.frame
    assert orjson.loads(published.body) == {"type": "x", "number": 0}


def test_a_newer_replaceable_event_wins_and_moves_to_the_end() -> None:
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
        backlog.add(event("job-completed", "1", must_deliver=True, number=number))
    assert numbers(backlog) == [0, 1, 2]


def test_a_full_backlog_drops_and_counts_the_oldest_replaceable_event() -> None:
    backlog = Backlog(limit=3)
    backlog.add(event("job-completed", "1", must_deliver=True, number=1))
    backlog.add(event("job-progress", "2", number=2))
    backlog.add(event("job-progress", "3", number=3))
    backlog.add(event("job-completed", "4", must_deliver=True, number=4))
    assert backlog.take_dropped() == 1
    backlog.add(event("job-progress", "3", number=5))
    assert backlog.take_dropped() == 0
    assert numbers(backlog) == [1, 4, 5]


def test_a_backlog_full_of_must_deliver_events_drops_the_new_one() -> None:
    backlog = Backlog(limit=2)
    for number in range(4):
        backlog.add(event("job-completed", "1", must_deliver=True, number=number))
    backlog.add(event("s3-health", number=9))
    assert backlog.take_dropped() == 3
    assert backlog.take_dropped() == 0
    assert numbers(backlog) == [0, 1]


def test_only_events_no_newer_than_the_snapshot_are_discarded() -> None:
    backlog = Backlog()
    backlog.add(event("job-started", "1", number=1))
    backlog.add(event("job-progress", "1", number=2))
    backlog.add(event("job-completed", "1", must_deliver=True, number=3))
    backlog.add(event("job-progress", "2", number=1))
    backlog.add(Event({"type": "file-failed", "number": 7}, job_id="1", must_deliver=True))
    backlog.add(Event({"type": "s3-health", "number": 8}))
    backlog.discard_stale({"1": (2,), "3": (9,)})
    assert numbers(backlog) == [3, 1, 7, 8]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("12"), st.booleans()), max_size=60),
    st.integers(1, 8),
)
def test_a_backlog_keeps_its_limit_and_counts_every_dropped_event(
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


async def test_a_client_reads_frames_of_any_length(aiohttp_client: Any) -> None:
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


def test_a_frames_header_has_the_right_length() -> None:
    for length, header in itertools.chain(
        ((n, 2) for n in (0, 125)), ((n, 4) for n in (126, 65535)), ((n, 10) for n in (65536,))
    ):
        assert len(text_frame(b"x" * length)) == header + length
