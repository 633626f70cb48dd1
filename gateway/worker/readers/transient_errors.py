"""What keeps files from being read though they are all right: want, and a mount that is gone."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from typing import Final

from gateway.logs.fault_log import FaultLog

# The system or this process has no more of something: that says nothing about the file.
RESOURCE_ERRORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
# What files say whose mount is gone, and some that are really missing or broken.
MOUNT_GONE_ERRORS: Final = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENOTCONN,
        errno.EIO,
        errno.ESTALE,
        errno.ENODEV,
        errno.ENXIO,
        errno.EHOSTDOWN,
    }
)
# A mount that is gone is looked for this often, in seconds, however many files wait for it.
LOOK_SECONDS: Final = 1.0
# How long a file waits before it is tried again, in seconds: twice as long each time.
FIRST_PAUSE: Final = 0.02
MAX_PAUSE: Final = 1.0

log = logging.getLogger(__name__)


class TransientErrors:
    """Tells what is wrong with a file from what is wrong around it. Shared by all readers.

    A mount point is gone if it is no directory, or has nothing in it: that is what a filespace
    looks like that is not mounted.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._want = FaultLog(log, "files can be opened again")
        self._mount = FaultLog(log, f"the mount point {root} is back")
        self._look_at = 0.0
        self._lock = threading.Lock()
        self._over = threading.Event()

    @property
    def is_mount_gone(self) -> bool:
        """Whether files wait for the mount, as of the last look."""
        return self._mount.is_on

    def is_transient(self, error: OSError, who: object) -> bool:
        """Whether ``error`` says nothing about the file. May block, just as the mount does."""
        if error.errno in RESOURCE_ERRORS:
            reason = os.strerror(error.errno)
            self._want.begin(who, f"files cannot be opened, waiting: {reason}")
            return True
        self._want.end(who)
        return error.errno in MOUNT_GONE_ERRORS and self._is_gone()

    def persist(self) -> bool:
        """Whether it is too early to try a file again. May block, just as the mount does."""
        return self._mount.is_on and self._is_gone()

    def end(self, who: object) -> None:
        """Nothing holds ``who`` up any more."""
        self._want.end(who)

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond `release`."""
        self._over.wait(seconds)

    def release(self) -> None:
        """Wake all who wait, now and ever."""
        self._over.set()

    def _is_gone(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._mount.is_on and now < self._look_at:
                return True
            # Before the look, which may hang: the others need not hang in it as well.
            self._look_at = now + LOOK_SECONDS
        if _is_there(self._root):
            self._mount.end(self._root)
            return False
        self._mount.begin(self._root, f"the mount point {self._root} is gone, waiting for it")
        return True


def _is_there(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is not None
    except OSError as error:
        # One that may not be listed is there; of one that cannot be opened for want nothing is
        # known, and the file that asks will meet the same want.
        return error.errno not in MOUNT_GONE_ERRORS
