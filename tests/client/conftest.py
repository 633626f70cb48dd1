"""Fixtures of the clients' tests."""

from support.client_server import server, start_server
from support.key_operator import operator

__all__ = ["operator", "server", "start_server"]
