"""Access classes of routes."""

from __future__ import annotations

from enum import Enum, auto


class Access(Enum):
    """Whether a route needs authentication, and which of the caller's buckets it draws from."""

    PUBLIC = auto()
    """No authentication."""
    METRICS = auto()
    """`PUBLIC`, or `POLL` if the settings make metrics private."""
    REQUEST = auto()
    """Authentication, and a token of the request bucket."""
    POLL = auto()
    """Authentication, and a token of the poll bucket."""
