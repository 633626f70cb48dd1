"""Several things to do, none of which is left undone because another failed."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TypeVar

from gateway.errors import GatewayError

Result = TypeVar("Result")


class DeferredErrors:
    """Puts errors off until all has been tried: one job that is locked holds up no other."""

    def __init__(self) -> None:
        self._failure: GatewayError | None = None

    async def add(self, work: Coroutine[None, None, Result]) -> Result | None:
        """Do it; None if it failed."""
        try:
            return await work
        except GatewayError as error:
            self._failure = self._failure or error
            return None

    def raise_failure(self) -> None:
        """Raise the first error, if there was one."""
        if self._failure is not None:
            raise self._failure
