"""Database connections that lose their socket, in a process that opens other things meanwhile.

libpq closes the socket of a connection that is lost, and the next thing that is opened gets its
number. aiopg looks whether the number is free; if it is not, it takes it for its own, and when it
lets go of it later, it may be the one of another connection, which hears nothing any more. It looks
with select(), which knows no number above 1023: then whoever waits for an answer is told nothing.
"""

from __future__ import annotations

import asyncio
import weakref
from contextlib import suppress
from typing import Any, Final

import psycopg2

LOST: Final = "the connection was lost"


def mind_socket(connection: Any) -> None:
    """Have an aiopg connection let go of its socket in the moment in which it loses it.

    Raises `psycopg2.OperationalError` for one that is lost already.
    """
    ready = connection._ready
    if connection.closed or connection._fileno is None:
        raise psycopg2.OperationalError(LOST)

    def look(weak: weakref.ref[Any]) -> None:
        try:
            # What it raises is select()'s complaint about the number.
            with suppress(ValueError):
                ready(weak)
        finally:
            if (found := weak()) is not None and found.closed:
                _let_go(found)

    connection._ready = look
    loop = asyncio.get_running_loop()
    loop.add_reader(connection._fileno, look, weakref.ref(connection))


def _let_go(connection: Any) -> None:
    number, connection._fileno = connection._fileno, None
    if number is not None:
        loop = asyncio.get_running_loop()
        for forget in (loop.remove_reader, loop.remove_writer):
            with suppress(OSError):
                forget(number)
    waiter = connection._waiter
    if waiter is not None and not waiter.done():
        waiter.set_exception(psycopg2.OperationalError(LOST))
