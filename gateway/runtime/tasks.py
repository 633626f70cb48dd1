"""Work beside other work: tasks that last as long as a context, and their end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

log = logging.getLogger(__name__)

CANCEL_AGAIN_SECONDS = 0.5
CANCEL_ATTEMPTS = 20


@asynccontextmanager
async def background_task(
    work: Coroutine[Any, Any, None], name: str | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Run something for as long as the context lasts; what it raised is raised at the end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield task
    finally:
        await cancel_and_wait(task)
        if task.done() and not task.cancelled():
            task.result()


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended, for 10 seconds at most; raises nothing of it."""
    # Once is not always enough: before Python 3.12 asyncio.wait_for, which aiopg uses, loses a
    # cancellation that arrives together with the result.
    for _ in range(CANCEL_ATTEMPTS):
        if task.done():
            return
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_SECONDS)
    if not task.done():
        log.error("%s does not end, and is left to itself", task.get_name())


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, but no longer; whether it has happened."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
