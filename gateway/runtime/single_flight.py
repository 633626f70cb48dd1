"""One reading for all who ask before it begins; who asks later gets a later one.

So nobody is answered with what was read before he asked, and a crowd costs as much as a few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SingleFlight(Generic[Key, Value]):
    """Reads by ``read``: of each key one reading runs, and at most one waits for its end."""

    def __init__(self, read: Callable[[Key], Awaitable[Value]]) -> None:
        self._read = read
        self._running: dict[Key, asyncio.Task[Value]] = {}
        self._waiting: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key) -> Value:
        """What is read of the key from now on. Raises what reading raises, to all who share it."""
        if key not in self._waiting:
            turn = self._run_after(key, self._running.get(key))
            self._waiting[key] = asyncio.create_task(turn, name="shared read")
        # Shielded: one who gives up must not cancel the reading for the others.
        return await asyncio.shield(self._waiting[key])

    async def _run_after(self, key: Key, before: asyncio.Task[Value] | None) -> Value:
        if before is not None:
            await asyncio.wait({before})
        mine = self._running[key] = self._waiting.pop(key)
        try:
            return await self._read(key)
        finally:
            if self._running.get(key) is mine:
                del self._running[key]
