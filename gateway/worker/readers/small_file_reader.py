"""Small files read in a row by one thread, with as few calls to the system as it takes."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

# Only to open something in it. Where there is no such flag, nothing is opened that way.
FOLDER_FLAGS: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
# After so many files a folder is looked up anew: its path may name another one by now.
FILES_A_LOOK: Final = 256
# These name no file of the folder.
NO_NAMES: Final = ("", ".", "..")


class Skimmer:
    """Reads files of up to ``most`` bytes, for one thread, as long as its context lasts.

    The folder of the last file stays open, and the next one is opened in it by its name (openat):
    neither is its whole path walked each time, nor is it asked where the file is, as long as no
    link leads there. What is read is copied nowhere: the kernel drops it once it has it (sendfile
    to /dev/null). ``flags`` are what files are opened with; ``may_hold`` tells of a folder whether
    all that is in it may be read; ``open_folder`` opens one that no link leads to, see
    `OpenNoSymlinks`, with ``FOLDER_FLAGS``; ``close`` closes a descriptor.
    """

    def __init__(
        self,
        flags: int,
        most: int,
        may_hold: Callable[[str], bool],
        open_folder: Callable[[str], int | None],
        close: Callable[[int], None],
    ) -> None:
        self._flags = flags | os.O_NOFOLLOW
        self._most = most
        self._may_hold = may_hold
        self._close = close
        self._open_folder = open_folder
        self._path: str | None = None
        self._folder: int | None = None
        self._left = 0
        self._sink: int | None = None

    def __enter__(self) -> Self:
        if sys.platform == "linux":
            with suppress(OSError):
                self._sink = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._leave_folder()
        if self._sink is not None:
            os.close(self._sink)

    def skim(self, path: str) -> int | None:
        """Read a file to its end; returns its bytes.

        None for anything but a regular file that is small, that no link leads to and that could be
        read: it is to be read in the ordinary way, which also says what is wrong.
        """
        folder, _, name = path.rpartition("/")
        self._left -= 1
        if folder != self._path or self._left < 0:
            self._enter_folder(folder)
        if self._folder is None or self._sink is None or name in NO_NAMES:
            return None
        try:
            descriptor = os.open(name, self._flags, dir_fd=self._folder)
        except (OSError, ValueError):
            return None
        try:
            return self._drain(descriptor, self._sink)
        except OSError:
            return None
        finally:
            self._close(descriptor)

    def _drain(self, descriptor: int, sink: int) -> int | None:
        status = os.fstat(descriptor)
        size = status.st_size
        if size > self._most or not stat.S_ISREG(status.st_mode):
            return None
        # Some filesystems hand O_NONBLOCK on to their server, which may answer EAGAIN.
        os.set_blocking(descriptor, True)
        offset = 0
        while offset < size and (got := os.sendfile(sink, descriptor, offset, size - offset)):
            offset += got
        return offset

    def _enter_folder(self, path: str) -> None:
        self._leave_folder()
        self._path, self._left = path, FILES_A_LOOK - 1
        if self._may_hold(path):
            self._folder = self._open_folder(path)

    def _leave_folder(self) -> None:
        if self._folder is not None:
            os.close(self._folder)
        self._path = self._folder = None
