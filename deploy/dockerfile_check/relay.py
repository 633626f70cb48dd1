"""A TCP port that leads to a Unix socket: our PostgreSQL has no other door."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def relay_to(target: Path) -> Iterator[int]:
    """Relay connections to a free port of 127.0.0.1, which it gives, to the socket ``target``."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, target), daemon=True).start()
        yield server.getsockname()[1]


def _accept(server: socket.socket, target: Path) -> None:
    with suppress(OSError):  # the server is closed: we are done
        while True:
            client, _ = server.accept()
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(str(target))
            for ends in ((client, upstream), (upstream, client)):
                threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
