"""Running a coroutine as the whole process, and stopping it by signals."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from gateway.runtime.descriptors import raise_descriptor_limit
from gateway.runtime.garbage import tune_gc

log = logging.getLogger(__name__)


Result = TypeVar("Result")


# What the end of the process may take beyond the time that requests and reads get, in seconds.
GRACE_SECONDS: Final = 5.0


def stop_on_signals(seconds: float | None = None) -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; a second signal ends the process at once.

    The process ends ``seconds`` and a grace after the first one, whatever holds it up. It is for
    processes that are ours alone.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()
        if seconds is not None:
            _end_after(seconds + GRACE_SECONDS)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle)
    return stop


def _end_after(seconds: float) -> None:
    """End the process when it has not ended by then: from a thread, as the loop may be stuck."""

    def end() -> None:
        log.warning("not stopped after %g seconds: ending at once", seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    # Without a thread there is no such certainty, but the orderly end is under way.
    with suppress(RuntimeError):
        timer.start()


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, on uvloop where there is one, with all descriptors there are."""
    raise_descriptor_limit()
    tune_gc()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
