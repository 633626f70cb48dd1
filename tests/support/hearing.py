"""Somebody who listens to the hub, for tests that wait for what is published."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.events.hub import METRICS, Event, Hub

PATIENCE = 30.0


class Ear:
    """Keeps what is published on a topic, in order."""

    def __init__(self, hub: Hub, topic: str = METRICS) -> None:
        self._heard: asyncio.Queue[Event] = asyncio.Queue()
        hub.subscribe(self, topic)

    def offer(self, event: Event) -> None:
        self._heard.put_nowait(event)

    async def next(self) -> dict[str, Any]:
        """The next message; waits for it."""
        async with asyncio.timeout(PATIENCE):
            return (await self._heard.get()).message

    def all(self) -> list[dict[str, Any]]:
        """What was heard and not taken yet."""
        return [self._heard.get_nowait().message for _ in range(self._heard.qsize())]
