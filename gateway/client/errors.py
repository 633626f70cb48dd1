"""What the client raises."""

from __future__ import annotations

from typing import Any


class GatewayClientError(Exception):
    """The gateway refused a request, or could not be reached.

    ``status`` is the HTTP status, None if there was no answer; ``details`` as the gateway sent
    them; ``retry_after`` the seconds after which it may be asked again, None if it does not say.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        details: Any = None,
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.details = details
        self.retry_after = retry_after
        super().__init__(message)


class GatewayUnreachable(GatewayClientError):
    """There was no answer. The cause, where there is one, is the network's own error."""
