"""What goes out to one client: at once while it keeps up, else kept, and bounded."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import orjson
import pytest

from gateway.events.backlog import BACKLOG_LIMIT
from gateway.events.hub import Event
from gateway.events.send_buffer import BUFFER_LIMIT, STALLED_SECONDS, Outbox, Outboxes


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Transport(asyncio.WriteTransport):
    """A transport whose client takes what the test lets it take."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray()
        self.taken = bytearray()
        self.reads = True
        self.closing = self.aborted = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self.closing, "written to a closing transport"
        self.buffer += data
        if self.reads:
            self.take()

    def take(self, size: int | None = None) -> None:
        size = len(self.buffer) if size is None else size
        self.taken += self.buffer[:size]
        del self.buffer[:size]

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = self.aborted = True
        self.buffer.clear()

    def messages(self) -> list[dict[str, Any]]:
        """What the client got, whole frames only; taken out."""
        found = []
        while len(self.taken) >= 2:
            size, start = self.taken[1], 2
            if size == 126:
                (size,), start = struct.unpack_from("!H", self.taken, 2), 4
            elif size == 127:
                (size,), start = struct.unpack_from("!Q", self.taken, 2), 10
            if len(self.taken) < start + size:
                break
            found.append(orjson.loads(bytes(self.taken[start : start + size])))
            del self.taken[: start + size]
        return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outboxes(clock: Clock) -> Outboxes:
    return Outboxes(clock)


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def outbox(outboxes: Outboxes, transport: Transport) -> Outbox:
    return outboxes.open(transport)


def event(
    kind: str = "job-progress", number: int = 0, job_id: str | None = "1", kept: bool = False
) -> Event:
    return Event({"type": kind, "number": number}, job_id=job_id, kept=kept, version=(number,))


def numbers(transport: Transport) -> list[Any]:
    return [m.get("number", m["type"]) for m in transport.messages()]


def fill(outbox: Outbox, transport: Transport) -> int:
    """Have the client read nothing until it is full; returns what lies there then."""
    transport.reads = False
    outbox.offer(Event({"type": "filler", "number": "filler", "text": "x" * BUFFER_LIMIT}))
    assert outbox.is_full
    return len(transport.buffer)


def test_while_the_client_keeps_up_each_event_is_written_at_once(
    outbox: Outbox, transport: Transport
) -> None:
    for number in range(3):
        outbox.offer(event(number=number))
    assert numbers(transport) == [0, 1, 2]
    assert not outbox.is_behind


def test_an_outbox_is_one_object_in_memory(outbox: Outbox) -> None:
    # A thousand of them are gone through for each event: what lies scattered would be felt.
    assert not hasattr(outbox, "__dict__")


def test_what_a_full_client_is_not_told_now_it_is_told_later_in_order(
    outboxes: Outboxes, outbox: Outbox, transport: Transport
) -> None:
    fill(outbox, transport)
    for number in range(5):
        outbox.offer(event(number=number))
    outbox.offer(event("job-completed", 5, kept=True))
    outboxes.flush()
    assert outbox.is_behind
    transport.take()
    transport.reads = True
    outbox.offer(event("s3-health", 6, job_id=None))
    outboxes.flush()
    assert numbers(transport) == ["filler", 4, 5, 6]
    assert not outbox.is_behind
    outbox.offer(event(number=7))
    assert numbers(transport) == [7]


def test_a_flush_stops_where_the_client_is_full_again(
    outboxes: Outboxes, outbox: Outbox, transport: Transport
) -> None:
    fill(outbox, transport)
    for number in range(BACKLOG_LIMIT):
        outbox.offer(Event({"type": "job-failed", "number": number, "text": "x" * 1000}, kept=True))
    seen = []
    while outbox.is_behind:
        transport.take()
        outboxes.flush()
        assert len(transport.buffer) <= BUFFER_LIMIT + 1100
        seen += numbers(transport)
    transport.take()
    assert seen + numbers(transport) == ["filler", *range(BACKLOG_LIMIT)]


def test_what_was_dropped_is_told_with_a_count_before_what_is_left(
    outboxes: Outboxes, outbox: Outbox, transport: Transport
) -> None:
    fill(outbox, transport)
    for number in range(BACKLOG_LIMIT + 7):
        outbox.offer(event("job-failed", number, kept=True))
    assert outboxes.dropped == 7
    transport.take()
    transport.reads = True
    outboxes.flush()
    told = transport.messages()
    assert told[1] == {"type": "events-dropped", "count": 7}
    assert [m["number"] for m in told[2:]] == list(range(BACKLOG_LIMIT))
    assert outboxes.dropped == 7
    outboxes.close(outbox)
    assert (outboxes.dropped, outboxes.count) == (7, 0)


def test_a_snapshot_comes_before_what_was_kept_back_for_it(
    outboxes: Outboxes, outbox: Outbox, transport: Transport
) -> None:
    outbox.hold()
    outbox.offer(event("job-started", 1))
    outbox.offer(event("job-progress", 2))
    outbox.offer(event("job-progress", 5))
    outbox.offer(event("job-progress", 1, job_id="2"))
    outboxes.flush()
    assert numbers(transport) == []
    outbox.release(Event({"type": "snapshot", "number": "snapshot"}), {"1": (4,)})
    outbox.offer(event("job-progress", 6))
    outboxes.flush()
    assert numbers(transport) == ["snapshot", 1, 6]


def test_without_a_snapshot_what_was_kept_back_is_told_all_the_same(
    outboxes: Outboxes, outbox: Outbox, transport: Transport
) -> None:
    outbox.hold()
    outbox.offer(event(number=1))
    outbox.release(None, {})
    outboxes.flush()
    assert numbers(transport) == [1]


def test_a_client_that_takes_nothing_for_30_seconds_is_cut_off(
    outboxes: Outboxes, outbox: Outbox, transport: Transport, clock: Clock
) -> None:
    fill(outbox, transport)
    clock.now += 3600
    outbox.offer(event())
    clock.now += STALLED_SECONDS - 0.1
    outboxes.flush()
    assert not transport.aborted
    clock.now += 0.2
    outboxes.flush()
    assert transport.aborted
    outbox.offer(event())
    outboxes.flush()
    assert not outbox.is_behind


def test_a_client_that_reads_slowly_for_ever_stays_and_its_memory_is_bounded(
    outboxes: Outboxes, outbox: Outbox, transport: Transport, clock: Clock
) -> None:
    fill(outbox, transport)
    for number in range(500):
        outbox.offer(event("job-failed", number, kept=number % 2 == 0))
        clock.now += STALLED_SECONDS - 1
        transport.take(1)
        outboxes.flush()
        assert len(transport.buffer) <= 2 * BUFFER_LIMIT
    assert not transport.aborted
    assert outbox.is_behind


def test_a_client_that_is_held_for_long_but_has_taken_all_is_not_cut_off(
    outboxes: Outboxes, outbox: Outbox, transport: Transport, clock: Clock
) -> None:
    outbox.hold()
    outbox.offer(event(number=1))
    for _ in range(3):
        clock.now += STALLED_SECONDS
        outboxes.flush()
    outbox.release(Event({"type": "snapshot"}), {})
    outboxes.flush()
    assert numbers(transport) == ["snapshot", 1]


def test_nothing_is_written_to_a_closing_transport_nor_kept_for_it(
    outboxes: Outboxes, outbox: Outbox, transport: Transport
) -> None:
    fill(outbox, transport)
    outbox.offer(event())
    transport.closing = True
    outboxes.flush()
    assert not outbox.is_behind
    transport.buffer.clear()
    outbox.offer(event())
    outbox.hold()
    outbox.release(Event({"type": "snapshot"}), {})


def test_nothing_follows_once_it_was_told_to_stop(
    outboxes: Outboxes, outbox: Outbox, transport: Transport
) -> None:
    outbox.hold()
    outbox.offer(event())
    outboxes.stop()
    outbox.offer(event())
    outbox.release(Event({"type": "snapshot"}), {})
    outboxes.flush()
    assert transport.messages() == []


def test_what_a_closed_connection_still_holds_may_go_out_but_not_stay_for_ever(
    outboxes: Outboxes, clock: Clock
) -> None:
    quick, stuck = Transport(), Transport()
    for transport in (quick, stuck):
        outbox = outboxes.open(transport)
        fill(outbox, transport)
        clock.now += 2 * STALLED_SECONDS
        transport.closing = True
        outboxes.close(outbox)
        assert not transport.aborted
    quick.take()
    for _ in range(3):
        clock.now += STALLED_SECONDS / 2
        outboxes.flush()
    assert (quick.aborted, stuck.aborted) == (False, True)
    assert not outboxes._leaving


def test_dropping_all_reaches_those_that_leave_too(outboxes: Outboxes) -> None:
    staying, leaving = Transport(), Transport()
    outboxes.open(staying)
    outbox = outboxes.open(leaving)
    fill(outbox, leaving)
    outboxes.close(outbox)
    outboxes.abort()
    assert staying.aborted
    assert leaving.aborted


class ClosedTwice(Transport):
    """As asyncio's TLS transport is after its second close: it has forgotten its protocol."""

    def get_write_buffer_size(self) -> int:
        if self.closing:
            raise AttributeError("'NoneType' object has no attribute '_get_write_buffer_size'")
        return super().get_write_buffer_size()

    def abort(self) -> None:
        raise AttributeError("'NoneType' object has no attribute '_abort'")


def test_a_transport_that_was_closed_twice_hurts_nobody(outboxes: Outboxes) -> None:
    transport = ClosedTwice()
    outbox = outboxes.open(transport)
    fill(outbox, transport)
    outbox.offer(event())
    transport.closing = True
    outbox.offer(event())
    outbox.hold()
    outbox.release(Event({"type": "snapshot"}), {})
    assert not outbox.is_full
    outboxes.flush()
    outboxes.abort()
    outboxes.close(outbox)
    outboxes.flush()
    assert not outboxes._leaving
