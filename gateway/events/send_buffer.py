"""What goes out to one WebSocket client: written at once while it keeps up, else kept for it.

Prepared frames are written straight to the transport: nothing ever waits for a client. What a
slow one holds up is bounded by its `Backlog`, and one that takes nothing at all is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from gateway.events.backlog import Backlog
from gateway.events.hub import Event, Version
from gateway.schemas.messages import EventsDropped

log = logging.getLogger(__name__)

# What may lie in a client's transport, in bytes, before events are kept back.
BUFFER_LIMIT: Final = 64 * 1024
# What may lie unsent in the kernel, in bytes. It would take megabytes: old news for a slow client,
# and one that reads, but slowly, would look for minutes as if it took nothing.
KERNEL_LIMIT: Final = 64 * 1024
# A client that has taken nothing for this long, in seconds, is cut off.
STALLED_SECONDS: Final = 30.0


class SendBuffer:
    """A subscriber that writes to a transport. ``clock`` is monotonic, in seconds.

    ``on_behind`` is called when events had to be kept back: `flush` it from then on, until it is
    no longer `is_behind`.
    """

    # A thousand clients are told of each event, and what lies scattered in memory costs more than
    # what is done with it: no dictionary and no bound methods, which are objects of their own.
    __slots__ = (
        "_backlog",
        "_buffered",
        "_clock",
        "_dropped",
        "_is_held",
        "_is_stopped",
        "_is_straight",
        "_on_behind",
        "_taken_at",
        "_transport",
    )

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        on_behind: Callable[[SendBuffer], None],
        clock: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._is_straight = True
        _bound_kernel_buffer(transport)
        self._on_behind = on_behind
        self._clock = clock
        self._backlog = Backlog()
        self._is_held = False
        self._is_stopped = False
        self._buffered = 0
        self._taken_at = clock()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Events that this client was never told of."""
        return self._dropped + self._backlog.dropped

    @property
    def is_behind(self) -> bool:
        """Whether there is something that it still has to be told."""
        return len(self._backlog) > 0

    def offer(self, event: Event) -> None:
        """Write the event now, or keep it for later."""
        transport = self._transport
        if transport.is_closing():
            return
        if self._is_straight and transport.get_write_buffer_size() <= BUFFER_LIMIT:
            transport.write(event.frame)
        elif not self._is_stopped:
            if not self.is_behind:
                self._fall_behind()
            self._backlog.add(event)
            self._is_straight = False

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell it something that is meant for it alone; of each type the newest wins."""
        self.offer(Event(message))

    def pause(self) -> None:
        """Keep everything back: a snapshot is being made, and has to come first."""
        self._is_held = True
        self._is_straight = False

    def release(self, snapshot: Event | None, versions: Mapping[str, Version]) -> None:
        """Tell the snapshot, then what was kept back and is newer.

        ``versions`` are those of the jobs that the snapshot shows.
        """
        self._is_held = False
        if snapshot is not None:
            self._backlog.discard_stale(versions)
            self._write(snapshot.frame)
        self._choose_way()

    def stop(self) -> None:
        """Write nothing any more: after the closing frame nothing may follow."""
        self._is_stopped = True
        self._backlog.clear()
        self._choose_way()

    def abort(self) -> None:
        """Drop the connection with all that it still holds. Without effect on a closed one."""
        with suppress(AttributeError):  # see `drain`
            self._transport.abort()

    def flush(self) -> None:
        """Write what was kept back, as far as the client takes it; cut off one that does not."""
        if self._transport.is_closing():
            self._backlog.clear()
            self._choose_way()
            return
        self._notice_what_was_taken()
        while len(self._backlog) and not self._is_held and not self.is_full:
            if dropped := self._backlog.take_dropped():
                self._dropped += dropped
                message: EventsDropped = {"type": "events-dropped", "count": dropped}
                self._write(Event(message).frame)
            self._write(self._backlog.pop().frame)
        self._choose_way()
        self._buffered = self._transport.get_write_buffer_size()
        if self._is_stalled:
            log.warning("a WebSocket client took nothing for %d s, cut off", STALLED_SECONDS)
            self.abort()

    def close(self) -> None:
        """Note that the connection is closed: what its transport holds may still go out."""
        self.stop()
        self._taken_at = self._clock()

    def drain(self) -> bool:
        """Whether a closed connection is rid of what it held; one that never will be is cut off."""
        try:
            self._notice_what_was_taken()
            self._buffered = self._transport.get_write_buffer_size()
            if self._is_stalled:
                self.abort()
                return True
        except AttributeError:
            # asyncio's TLS transport, closed twice, knows its protocol no more; that one cuts
            # itself off in time.
            return True
        return not self._buffered

    @property
    def _is_stalled(self) -> bool:
        return self._clock() - self._taken_at >= STALLED_SECONDS

    def _notice_what_was_taken(self) -> None:
        size = self._transport.get_write_buffer_size()
        if size < self._buffered or not size:
            self._taken_at = self._clock()

    def _choose_way(self) -> None:
        self._is_straight = not (self._is_held or self._is_stopped or self.is_behind)

    def _fall_behind(self) -> None:
        self._taken_at = self._clock()
        self._buffered = self._transport.get_write_buffer_size()
        self._on_behind(self)

    @property
    def is_full(self) -> bool:
        """Whether as much lies in its transport as may."""
        return (
            not self._transport.is_closing()
            and self._transport.get_write_buffer_size() > BUFFER_LIMIT
        )

    def _write(self, frame: bytes) -> None:
        if not self._is_stopped and not self._transport.is_closing():
            self._transport.write(frame)


def _bound_kernel_buffer(transport: asyncio.WriteTransport) -> None:
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if connection is None or option is None:
        return
    # Not on a UNIX socket, nor on one whose client is gone by now.
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, option, KERNEL_LIMIT)


class SendBuffers:
    """All clients' outboxes; flushes those that are behind."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: set[SendBuffer] = set()
        self._behind: set[SendBuffer] = set()
        self._leaving: set[SendBuffer] = set()
        self._dropped_before = 0

    @property
    def count(self) -> int:
        """Clients that are connected."""
        return len(self._open)

    @property
    def dropped(self) -> int:
        """Events that were dropped for slow clients since the start."""
        return self._dropped_before + sum(send_buffer.dropped for send_buffer in self._open)

    def open(self, transport: asyncio.WriteTransport) -> SendBuffer:
        """The outbox of a new client."""
        send_buffer = SendBuffer(transport, self._behind.add, self._clock)
        self._open.add(send_buffer)
        return send_buffer

    def close(self, send_buffer: SendBuffer) -> None:
        """Forget a client that is gone, once its transport is rid of what it still holds.

        Closing does not free a transport whose client reads no more but stays connected.
        """
        send_buffer.close()
        self._open.discard(send_buffer)
        self._behind.discard(send_buffer)
        self._dropped_before += send_buffer.dropped
        if not send_buffer.drain():
            self._leaving.add(send_buffer)

    def stop(self) -> None:
        """Write nothing any more to anybody."""
        for send_buffer in self._open:
            send_buffer.stop()

    def abort(self) -> None:
        """Drop every connection that is still there."""
        for send_buffer in (*self._open, *self._leaving):
            send_buffer.abort()

    def flush(self) -> None:
        """Flush those that are behind, and see off those that leave."""
        for send_buffer in tuple(self._leaving):
            if send_buffer.drain():
                self._leaving.discard(send_buffer)
        for send_buffer in tuple(self._behind):
            send_buffer.flush()
            if not send_buffer.is_behind:
                self._behind.discard(send_buffer)
