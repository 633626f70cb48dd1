"""Sends events to one WebSocket client: at once while it keeps up, else through a backlog.

Prepared frames are written directly to the transport: nothing ever waits for a client. A `Backlog`
bounds what waits for a slow client, and a client that reads nothing is disconnected.
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

# The bytes a transport may buffer before events go to the backlog.
BUFFER_LIMIT: Final = 64 * 1024
# The unsent bytes in the kernel. Its default is megabytes: a slow client would get stale events,
# and would look stalled for minutes although it reads.
KERNEL_LIMIT: Final = 64 * 1024
# A client that has read nothing for this long, in seconds, is disconnected.
STALLED_SECONDS: Final = 30.0


class SendBuffer:
    """A subscriber that writes to a transport. ``clock`` is monotonic, in seconds.

    ``on_behind`` is called when an event goes to the backlog: call `flush` repeatedly from then
    on, until `is_behind` is false.
    """

    # Each event goes to a thousand clients, and cache misses cost more than the work itself: no
    # dictionary and no bound methods, which would be separate objects.
    __slots__ = (
        "_backlog",
        "_buffered",
        "_clock",
        "_dropped",
        "_is_paused",
        "_is_stopped",
        "_on_behind",
        "_progress_at",
        "_transport",
        "_writes_directly",
    )

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        on_behind: Callable[[SendBuffer], None],
        clock: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._writes_directly = True
        _bound_kernel_buffer(transport)
        self._on_behind = on_behind
        self._clock = clock
        self._backlog = Backlog()
        self._is_paused = False
        self._is_stopped = False
        self._buffered = 0
        self._progress_at = clock()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """The number of events that this client never got."""
        return self._dropped + self._backlog.dropped

    @property
    def is_behind(self) -> bool:
        """Whether events wait in the backlog."""
        return len(self._backlog) > 0

    def offer(self, event: Event) -> None:
        """Write the event now, or keep it for later."""
        transport = self._transport
        if transport.is_closing():
            return
        if self._writes_directly and transport.get_write_buffer_size() <= BUFFER_LIMIT:
            transport.write(event.frame)
        elif not self._is_stopped:
            if not self.is_behind:
                self._fall_behind()
            self._backlog.add(event)
            self._writes_directly = False

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message to this client alone; of each type the newest wins."""
        self.offer(Event(message))

    def pause(self) -> None:
        """Hold all events until `release`: a snapshot has to be sent first."""
        self._is_paused = True
        self._writes_directly = False

    def release(self, snapshot: Event | None, versions: Mapping[str, Version]) -> None:
        """Send the snapshot, then the held events that are newer.

        ``versions`` are those of the jobs in the snapshot.
        """
        self._is_paused = False
        if snapshot is not None:
            self._backlog.discard_stale(versions)
            self._write(snapshot.frame)
        self._update_mode()

    def stop(self) -> None:
        """Stop writing: nothing may follow the closing frame."""
        self._is_stopped = True
        self._backlog.clear()
        self._update_mode()

    def abort(self) -> None:
        """Abort the connection and discard its buffer. Without effect on a closed one."""
        with suppress(AttributeError):  # see `drain`
            self._transport.abort()

    def flush(self) -> None:
        """Write from the backlog as far as the client reads; disconnect a stalled one."""
        if self._transport.is_closing():
            self._backlog.clear()
            self._update_mode()
            return
        self._note_progress()
        while len(self._backlog) and not self._is_paused and not self.is_full:
            if dropped := self._backlog.take_dropped():
                self._dropped += dropped
                message: EventsDropped = {"type": "events-dropped", "count": dropped}
                self._write(Event(message).frame)
            self._write(self._backlog.pop().frame)
        self._update_mode()
        self._buffered = self._transport.get_write_buffer_size()
        if self._is_stalled:
            log.warning("a WebSocket client took nothing for %d s, cut off", STALLED_SECONDS)
            self.abort()

    def close(self) -> None:
        """Note that the connection is closed; what its transport buffers may still be sent."""
        self.stop()
        self._progress_at = self._clock()

    def drain(self) -> bool:
        """Whether a closed connection has sent its buffer; a stalled one is aborted."""
        try:
            self._note_progress()
            self._buffered = self._transport.get_write_buffer_size()
            if self._is_stalled:
                self.abort()
                return True
        except AttributeError:
            # asyncio's TLS transport has lost its protocol once closed twice; it aborts itself
            # after a timeout.
            return True
        return not self._buffered

    @property
    def _is_stalled(self) -> bool:
        return self._clock() - self._progress_at >= STALLED_SECONDS

    def _note_progress(self) -> None:
        size = self._transport.get_write_buffer_size()
        if size < self._buffered or not size:
            self._progress_at = self._clock()

    def _update_mode(self) -> None:
        self._writes_directly = not (self._is_paused or self._is_stopped or self.is_behind)

    def _fall_behind(self) -> None:
        self._progress_at = self._clock()
        self._buffered = self._transport.get_write_buffer_size()
        self._on_behind(self)

    @property
    def is_full(self) -> bool:
        """Whether the transport's buffer is over `BUFFER_LIMIT`."""
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
    # Fails on a UNIX socket, and on one whose client has disconnected.
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, option, KERNEL_LIMIT)


class SendBuffers:
    """All clients' send buffers; flushes those that are behind."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: set[SendBuffer] = set()
        self._behind: set[SendBuffer] = set()
        self._draining: set[SendBuffer] = set()
        self._dropped_before = 0

    @property
    def count(self) -> int:
        """The number of connected clients."""
        return len(self._open)

    @property
    def dropped(self) -> int:
        """The number of events dropped for slow clients since the start."""
        return self._dropped_before + sum(send_buffer.dropped for send_buffer in self._open)

    def open(self, transport: asyncio.WriteTransport) -> SendBuffer:
        """Create the send buffer of a new client."""
        send_buffer = SendBuffer(transport, self._behind.add, self._clock)
        self._open.add(send_buffer)
        return send_buffer

    def close(self, send_buffer: SendBuffer) -> None:
        """Forget a disconnected client once its transport has sent its buffer.

        Closing does not free a transport whose client stays connected without reading.
        """
        send_buffer.close()
        self._open.discard(send_buffer)
        self._behind.discard(send_buffer)
        self._dropped_before += send_buffer.dropped
        if not send_buffer.drain():
            self._draining.add(send_buffer)

    def stop(self) -> None:
        """Stop writing to all clients."""
        for send_buffer in self._open:
            send_buffer.stop()

    def abort(self) -> None:
        """Abort all remaining connections."""
        for send_buffer in (*self._open, *self._draining):
            send_buffer.abort()

    def flush(self) -> None:
        """Flush the buffers that are behind, and forget closed ones that are drained."""
        for send_buffer in tuple(self._draining):
            if send_buffer.drain():
                self._draining.discard(send_buffer)
        for send_buffer in tuple(self._behind):
            send_buffer.flush()
            if not send_buffer.is_behind:
                self._behind.discard(send_buffer)
