"""Long computing beside the event loop, so that it goes on answering others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

OFFLOAD_THRESHOLD = 2000

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


async def run_in_thread_if_large(
    amount: int,
    work: Callable[Parameters, Result],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    """What ``work`` returns or raises: in a thread if it is about many things, else at once.

    ``amount`` is the number of things. To be used for pure computing: a thread that waits for
    something would hold up the end of the process.
    """
    if amount <= OFFLOAD_THRESHOLD:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
