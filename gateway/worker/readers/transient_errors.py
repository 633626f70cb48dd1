"""Errors that say nothing about a file: exhausted resources, and a mount that is gone."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from typing import Final

from gateway.logs.fault_log import FaultLog

# The system or this process has run out of something.
RESOURCE_ERRORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
# The errors of files whose mount is gone, but also of some that are really missing or broken.
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
# Seconds until a file is tried again, doubled each time.
FIRST_PAUSE: Final = 0.02

log = logging.getLogger(__name__)


class TransientErrors:
    """Recognises transient errors. Shared by all readers.

    A mount point is gone if it is no directory or is empty, as it is without a mount.
    ``look_seconds`` are between two looks for it, however many files wait, and between two tries
    to open a file at most.
    """

    def __init__(self, root: str, look_seconds: float) -> None:
        self.look_seconds = look_seconds
        self._root = root
        self._resources = FaultLog(log, "files can be opened again")
        self._mount = FaultLog(log, f"the mount point {root} is back")
        self._look_at = 0.0
        self._lock = threading.Lock()
        self._over = threading.Event()

    @property
    def is_mount_gone(self) -> bool:
        """Whether files wait for the mount, as of the last look."""
        return self._mount.is_active

    def is_transient(self, error: OSError, who: object) -> bool:
        """Whether ``error`` says nothing about the file. May block, as the mount does."""
        if error.errno in RESOURCE_ERRORS:
            reason = os.strerror(error.errno)
            self._resources.begin(who, f"files cannot be opened, waiting: {reason}")
            return True
        self._resources.end(who)
        return error.errno in MOUNT_GONE_ERRORS and self._is_gone()

    def persist(self) -> bool:
        """Whether it is too early to try a file again. May block, as the mount does."""
        return self._mount.is_active and self._is_gone()

    def end(self, who: object) -> None:
        """Nothing holds up ``who`` now."""
        self._resources.end(who)

    def wait(self, seconds: float) -> None:
        """Sleep, until `release` at most."""
        self._over.wait(seconds)

    def release(self) -> None:
        """End all waits, now and later."""
        self._over.set()

    def _is_gone(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._mount.is_active and now < self._look_at:
                return True
            # Before the look, which may hang: the other readers must not hang in it as well.
            self._look_at = now + self.look_seconds
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
        # A mount that may not be listed is there. If the look lacks a resource, so will the file.
        return error.errno not in MOUNT_GONE_ERRORS
