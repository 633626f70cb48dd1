"""How near the process is to having no file descriptor left."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

log = logging.getLogger(__name__)

# Below the limit so many are left when the warning is given.
DESCRIPTORS_LEFT: Final = 16
WARN_SECONDS: Final = 60.0
# As many as are asked of the system at most: each takes some memory of the kernel.
DESIRED_LIMIT: Final = 65_536


class FileDescriptorMonitor:
    """Warns, once a minute at most, when connections leave few descriptors for anything else.

    The event loop says little when there are none left: uvloop hangs up without a word.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._warned_at = -WARN_SECONDS

    def check(self, descriptor: int) -> None:
        """Look at the number of a new connection: the system always gives the lowest free one."""
        limit = descriptor_limit()
        if descriptor < limit - DESCRIPTORS_LEFT or descriptor < 0:
            return
        if (now := self._clock()) - self._warned_at >= WARN_SECONDS:
            self._warned_at = now
            log.warning(
                "Nearly all of the %d descriptors that this process may have are in use:"
                " raise its limit of open files (ulimit -n)",
                limit,
            )


def raise_descriptor_limit() -> None:
    """Ask for as many descriptors as the system allows this process, up to 65,536.

    Where nobody asks it is often 1,024, for the sake of programs that are older than poll(2).
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESIRED_LIMIT if hard == resource.RLIM_INFINITY else min(DESIRED_LIMIT, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS refuses more than it has, whatever its hard limit says.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptor_limit() -> float:
    """The descriptors that this process may have; infinity where that is not limited."""
    if sys.platform == "win32":
        return float("inf")
    import resource

    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if soft == resource.RLIM_INFINITY else soft
