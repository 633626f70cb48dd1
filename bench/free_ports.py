"""Ports for servers that must be told theirs before they listen."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

# Below where Linux (32768) and macOS (49152) begin to choose the ports of outgoing connections:
# of those, one could take a free port before the server that it is meant for.
UNPRIVILEGED_PORTS = range(10240, 32768)
TRIES = 100


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on: connections to it are refused."""
    for port in random.sample(UNPRIVILEGED_PORTS, TRIES):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError(f"None of {TRIES} ports is free")
