"""One gateway per data folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gateway.errors import EmbeddedPostgresError
from gateway.standalone.postgres.account import Account


class Lock:
    """The lock of a data folder, a file that is locked while somebody runs its server.

    The kernel gives it back when its holder dies, however it dies.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self, account: Account) -> None:
        """Take the lock; raises `EmbeddedPostgresError` naming the process that holds it."""
        # Not through a link: the folder may belong to somebody else than us.
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            account.take(fd)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise EmbeddedPostgresError(
                f"The data folder {self._path.parent} is in use by another gateway, "
                f"its process: {holder}"
            ) from None
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def release(self) -> None:
        """Give it back; does nothing when it is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
