"""Sending to one client: at once while it keeps up, else through a bounded backlog."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import orjson
import pytest

from gateway.events.backlog import BACKLOG_LIMIT
from gateway.events.hub import Event
from gateway.events.send_buffer import BUFFER_LIMIT, STALLED_SECONDS, SendBuffer, SendBuffers


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Transport(asyncio.WriteTransport):
    """A transport whose client reads what the test lets it read."""

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
        """Remove and return the whole frames that the client got."""
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
def send_buffers(clock: Clock) -> SendBuffers:
    return SendBuffers(clock)


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def send_buffer(send_buffers: SendBuffers, transport: Transport) -> SendBuffer:
    return send_buffers.open(transport)


def event(
    kind: str = "job-progress",
    number: int = 0,
    job_id: str | None = "1",
    must_deliver: bool = False,
) -> Event:
    return Event(
        {"type": kind, "number": number},
        job_id=job_id,
        must_deliver=must_deliver,
        version=(number,),
    )


def numbers(transport: Transport) -> list[Any]:
    return [m.get("number", m["type"]) for m in transport.messages()]


def fill(send_buffer: SendBuffer, transport: Transport) -> int:
    """Fill the buffer of a client that does not read; return its frames."""
    transport.reads = False
    send_buffer.offer(Event({"type": "filler", "number": "filler", "text": "x" * BUFFER_LIMIT}))
    assert send_buffer.is_full
    return len(transport.buffer)


def test_events_are_written_at_once_while_the_client_keeps_up(
    send_buffer: SendBuffer, transport: Transport
) -> None:
    for number in range(3):
        send_buffer.offer(event(number=number))
    assert numbers(transport) == [0, 1, 2]
    assert not send_buffer.is_behind


def test_a_send_buffer_is_one_object_in_memory(send_buffer: SendBuffer) -> None:
    # Each event visits a thousand of them: separate objects would cost cache misses.
    assert not hasattr(send_buffer, "__dict__")


def test_a_full_client_gets_events_later_and_in_order(
    send_buffers: SendBuffers, send_buffer: SendBuffer, transport: Transport
) -> None:
    fill(send_buffer, transport)
    for number in range(5):
        send_buffer.offer(event(number=number))
    send_buffer.offer(event("job-completed", 5, must_deliver=True))
    send_buffers.flush()
    assert send_buffer.is_behind
    transport.take()
    transport.reads = True
    send_buffer.offer(event("s3-health", 6, job_id=None))
    send_buffers.flush()
    assert numbers(transport) == ["filler", 4, 5, 6]
    assert not send_buffer.is_behind
    send_buffer.offer(event(number=7))
    assert numbers(transport) == [7]


def test_a_flush_stops_when_the_client_is_full_again(
    send_buffers: SendBuffers, send_buffer: SendBuffer, transport: Transport
) -> None:
    fill(send_buffer, transport)
    for number in range(BACKLOG_LIMIT):
        send_buffer.offer(
            Event({"type": "job-failed", "number": number, "text": "x" * 1000}, must_deliver=True)
        )
    seen = []
    while send_buffer.is_behind:
        transport.take()
        send_buffers.flush()
        assert len(transport.buffer) <= BUFFER_LIMIT + 1100
        seen += numbers(transport)
    transport.take()
    assert seen + numbers(transport) == ["filler", *range(BACKLOG_LIMIT)]


def test_the_count_of_dropped_events_is_sent_before_the_rest(
    send_buffers: SendBuffers, send_buffer: SendBuffer, transport: Transport
) -> None:
    fill(send_buffer, transport)
    for number in range(BACKLOG_LIMIT + 7):
        send_buffer.offer(event("job-failed", number, must_deliver=True))
    assert send_buffers.dropped == 7
    transport.take()
    transport.reads = True
    send_buffers.flush()
    sent = transport.messages()
    assert sent[1] == {"type": "events-dropped", "count": 7}
    assert [m["number"] for m in sent[2:]] == list(range(BACKLOG_LIMIT))
    assert send_buffers.dropped == 7
    send_buffers.close(send_buffer)
    assert (send_buffers.dropped, send_buffers.count) == (7, 0)


def test_a_snapshot_is_sent_before_the_held_events(
    send_buffers: SendBuffers, send_buffer: SendBuffer, transport: Transport
) -> None:
    send_buffer.pause()
    send_buffer.offer(event("job-started", 1))
    send_buffer.offer(event("job-progress", 2))
    send_buffer.offer(event("job-progress", 5))
    send_buffer.offer(event("job-progress", 1, job_id="2"))
    send_buffers.flush()
    assert numbers(transport) == []
    send_buffer.release(Event({"type": "snapshot", "number": "snapshot"}), {"1": (4,)})
    send_buffer.offer(event("job-progress", 6))
    send_buffers.flush()
    assert numbers(transport) == ["snapshot", 1, 6]


def test_held_events_are_sent_without_a_snapshot_too(
    send_buffers: SendBuffers, send_buffer: SendBuffer, transport: Transport
) -> None:
    send_buffer.pause()
    send_buffer.offer(event(number=1))
    send_buffer.release(None, {})
    send_buffers.flush()
    assert numbers(transport) == [1]


def test_a_client_that_reads_nothing_for_30_seconds_is_disconnected(
    send_buffers: SendBuffers, send_buffer: SendBuffer, transport: Transport, clock: Clock
) -> None:
    fill(send_buffer, transport)
    clock.now += 3600
    send_buffer.offer(event())
    clock.now += STALLED_SECONDS - 0.1
    send_buffers.flush()
    assert not transport.aborted
    clock.now += 0.2
    send_buffers.flush()
    assert transport.aborted
    send_buffer.offer(event())
    send_buffers.flush()
    assert not send_buffer.is_behind


def test_a_slow_reader_stays_connected_and_its_memory_is_bounded(
    send_buffers: SendBuffers, send_buffer: SendBuffer, transport: Transport, clock: Clock
) -> None:
    fill(send_buffer, transport)
    for number in range(500):
        send_buffer.offer(event("job-failed", number, must_deliver=number % 2 == 0))
        clock.now += STALLED_SECONDS - 1
        transport.take(1)
        send_buffers.flush()
        assert len(transport.buffer) <= 2 * BUFFER_LIMIT
    assert not transport.aborted
    assert send_buffer.is_behind


def test_a_paused_client_that_has_read_everything_stays_connected(
    send_buffers: SendBuffers, send_buffer: SendBuffer, transport: Transport, clock: Clock
) -> None:
    send_buffer.pause()
    send_buffer.offer(event(number=1))
    for _ in range(3):
        clock.now += STALLED_SECONDS
        send_buffers.flush()
    send_buffer.release(Event({"type": "snapshot"}), {})
    send_buffers.flush()
    assert numbers(transport) == ["snapshot", 1]


def test_a_closing_transport_gets_no_events_and_no_backlog(
    send_buffers: SendBuffers, send_buffer: SendBuffer, transport: Transport
) -> None:
    fill(send_buffer, transport)
    send_buffer.offer(event())
    transport.closing = True
    send_buffers.flush()
    assert not send_buffer.is_behind
    transport.buffer.clear()
    send_buffer.offer(event())
    send_buffer.pause()
    send_buffer.release(Event({"type": "snapshot"}), {})


def test_nothing_is_written_after_stop(
    send_buffers: SendBuffers, send_buffer: SendBuffer, transport: Transport
) -> None:
    send_buffer.pause()
    send_buffer.offer(event())
    send_buffers.stop()
    send_buffer.offer(event())
    send_buffer.release(Event({"type": "snapshot"}), {})
    send_buffers.flush()
    assert transport.messages() == []


def test_a_closed_connection_may_send_its_buffer_for_a_limited_time(
    send_buffers: SendBuffers, clock: Clock
) -> None:
    quick, stuck = Transport(), Transport()
    for transport in (quick, stuck):
        send_buffer = send_buffers.open(transport)
        fill(send_buffer, transport)
        clock.now += 2 * STALLED_SECONDS
        transport.closing = True
        send_buffers.close(send_buffer)
        assert not transport.aborted
    quick.take()
    for _ in range(3):
        clock.now += STALLED_SECONDS / 2
        send_buffers.flush()
    assert (quick.aborted, stuck.aborted) == (False, True)
    assert not send_buffers._draining


def test_abort_reaches_closed_connections_that_still_drain(send_buffers: SendBuffers) -> None:
    staying, leaving = Transport(), Transport()
    send_buffers.open(staying)
    send_buffer = send_buffers.open(leaving)
    fill(send_buffer, leaving)
    send_buffers.close(send_buffer)
    send_buffers.abort()
    assert staying.aborted
    assert leaving.aborted


class ClosedTwice(Transport):
    """Like asyncio's TLS transport after its second close: it has lost its protocol."""

    def get_write_buffer_size(self) -> int:
        if self.closing:
            raise AttributeError("'NoneType' object has no attribute '_get_write_buffer_size'")
        return super().get_write_buffer_size()

    def abort(self) -> None:
        raise AttributeError("'NoneType' object has no attribute '_abort'")


def test_a_transport_may_be_closed_twice(send_buffers: SendBuffers) -> None:
    transport = ClosedTwice()
    send_buffer = send_buffers.open(transport)
    fill(send_buffer, transport)
    send_buffer.offer(event())
    transport.closing = True
    send_buffer.offer(event())
    send_buffer.pause()
    send_buffer.release(Event({"type": "snapshot"}), {})
    assert not send_buffer.is_full
    send_buffers.flush()
    send_buffers.abort()
    send_buffers.close(send_buffer)
    send_buffers.flush()
    assert not send_buffers._draining
