"""An aiopg connection that always knows whether it has a socket, and hears when that is lost.

libpq closes the socket of a connection that is lost, and the next thing that is opened gets its
number. aiopg looks whether the number is free; if it is not, it takes it for its own, and when it
lets go of it later, it may be the one of another connection, which hears nothing any more. It looks
with select(), which knows no number above 1023: then whoever waits for an answer is told nothing.

libuv, below uvloop, tells once of a socket that has an error and then looks at it no more. If libpq
has to read once more to find out that the server is gone, nobody tells it to.
"""

from __future__ import annotations

import select
import weakref
from contextlib import suppress
from typing import Any, Final

import aiopg

from gateway.database.arguments import connection_arguments
from gateway.settings import Settings

GONE: Final = select.POLLERR | select.POLLHUP


class DatabaseConnection(aiopg.Connection):
    """A connection to PostgreSQL; ``await connect(…)`` makes one."""

    _number: int | None = None

    def __init__(self, settings: Settings, seconds: float) -> None:
        super().__init__(None, seconds, enable_hstore=False, **connection_arguments(settings))
        self._number = self._fileno

    @staticmethod
    def _ready(weak_self: weakref.ref[Any]) -> None:
        try:
            # What it raises is select()'s complaint about the number.
            with suppress(ValueError):
                aiopg.Connection._ready(weak_self)
        finally:
            if (found := weak_self()) is not None and found._number is not None:
                found._look_after_socket()

    def _look_after_socket(self) -> None:
        if self.closed or self._fileno is None:
            # Now, before anything else gets the number.
            self._close()
        elif _is_gone(self._fileno):
            self._listen_again(self._fileno)

    def _listen_again(self, number: int) -> None:
        self._loop.remove_reader(number)
        self._loop.remove_writer(number)
        self._loop.add_reader(number, self._ready, self._weakref)
        if self._writing:
            self._loop.add_writer(number, self._ready, self._weakref)

    def _close(self) -> None:
        # Once: when it is closed again, the number may be another's.
        number, self._number, self._fileno = self._number, None, None
        if number is not None:
            for forget in (self._loop.remove_reader, self._loop.remove_writer):
                with suppress(OSError):
                    forget(number)
        super()._close()


async def connect(settings: Settings, seconds: float) -> DatabaseConnection:
    """Connect; ``seconds`` are for this, and for each statement without one of its own.

    Raises the driver's errors.
    """
    connection = DatabaseConnection(settings, seconds)
    await connection
    return connection


def _is_gone(number: int) -> bool:
    """Whether the other end of a socket is there no more, though something may be left to read."""
    poll = select.poll()
    # An error and a hang-up are always told.
    poll.register(number, 0)
    return any(event & GONE for _number, event in poll.poll(0))
