"""What a route asks of its caller."""

from __future__ import annotations

from enum import Enum, auto


class Access(Enum):
    """What a route asks of its caller, beside a scope."""

    PUBLIC = auto()
    """Nothing."""
    METRICS = auto()
    """Nothing, unless the settings make metrics private: what `POLL` asks then."""
    REQUEST = auto()
    """A key, and a token of the caller's request bucket."""
    POLL = auto()
    """A key, and a token of the caller's poll bucket."""
