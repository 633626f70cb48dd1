"""Several things to do, none of which is left out because another failed."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.errors import GatewayError

Result = TypeVar("Result")


class DeferredErrors:
    """Puts errors off until everything was tried: a job that is locked holds up no other."""

    def __init__(self) -> None:
        self._first: GatewayError | None = None

    async def add(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """Await ``work`` and return its result; None if it failed."""
        try:
            return await work
        except GatewayError as error:
            self._first = self._first or error
            return None

    def raise_first(self) -> None:
        """Raise the first error, if there was one."""
        if self._first is not None:
            raise self._first
