"""The files that a reader reads: regular files of one folder, by plain POSIX calls."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Final, Protocol

from gateway.mount.location import Folder, has_descriptor_links, location_of
from gateway.worker.readers.openat2 import OpenNoSymlinks

# O_NONBLOCK: opening a FIFO must not wait for a writer. O_NOCTTY: a terminal must not become the
# process's own.
OPEN_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
# The kernel's first read-ahead covers smaller files whole: advice would be a call for nothing.
ADVISED_SIZE: Final = 128 * 1024
# What open() raises for sockets, and for devices without a driver.
NO_FILE_ERRNOS: Final = (errno.ENXIO, errno.ENODEV)


class FileSource(Protocol):
    """What a reader needs of a filesystem. Called from many threads at once; calls may block.

    Any of them may raise OSError, whose ``strerror`` is a reason for people to read.
    """

    def open(self, path: str, /) -> tuple[int, int]:
        """Open ``path``; returns a descriptor and the file's size in bytes."""

    def read(self, descriptor: int, buffers: Sequence[memoryview], offset: int, /) -> int:
        """Fill ``buffers`` from ``offset`` on; returns the bytes read, 0 at the end.

        Several threads may read one descriptor.
        """

    def forget(self, descriptor: int, offset: int, length: int, /) -> None:
        """These bytes are not needed again: the kernel may drop them."""

    def close(self, descriptor: int, /) -> None:
        """Let the kernel drop the file, and close it."""


class PosixFiles:
    """A `FileSource` for the regular files at and below ``root``.

    Links are followed, as long as they lead to a file that is inside ``root``, and inside one of
    the folders ``allowed``, if any are given.
    """

    # The bare builtin: between the reader's loop and the kernel lies no Python frame.
    read = staticmethod(os.preadv)

    def __init__(self, root: str, allowed: Sequence[str] = ()) -> None:
        self._root = Folder(os.path.abspath(root))
        self._allowed = [Folder(it) for it in allowed]
        self._has_descriptors = has_descriptor_links()
        self._plain_open = OpenNoSymlinks(OPEN_FLAGS)

    def open(self, path: str, /) -> tuple[int, int]:
        """Open a regular file inside the root; returns its descriptor and its size in bytes.

        Raises OSError: the kernel's, or one that says "Not a regular file", "Is a directory",
        "Leads out of the filespace", "Outside the paths that may be cached" or what is wrong with
        the name.
        """
        descriptor = self._plain_open.open(path)
        is_plain = descriptor is not None
        if descriptor is None:
            # Again, by Python's own function: its errors say what is wrong.
            descriptor = _open(path)
        try:
            size = _regular_size(descriptor)
            self._check_location(path if is_plain else self._location_of(descriptor, path))
            # Some filesystems pass O_NONBLOCK on to their server, which may answer EAGAIN.
            os.set_blocking(descriptor, True)
        except BaseException:
            os.close(descriptor)
            raise
        if size > ADVISED_SIZE:
            _advise_sequential(descriptor)
        return descriptor, size

    def forget(self, descriptor: int, offset: int, length: int, /) -> None:
        """Let the kernel drop ``length`` bytes from ``offset`` (0: up to the end)."""
        _advise_dont_need(descriptor, offset, length)

    def close(self, descriptor: int, /) -> None:
        """Let the kernel drop the whole file, and close it. Never raises OSError."""
        _advise_dont_need(descriptor, 0, 0)
        try:
            os.close(descriptor)
        except OSError:
            # Nothing was written, so nothing is lost; Linux has freed the descriptor.
            return

    def _location_of(self, descriptor: int, path: str) -> str:
        return location_of(descriptor) if self._has_descriptors else os.path.realpath(path)

    def _check_location(self, location: str) -> None:
        if not self._root.contains(location):
            raise OSError(errno.EXDEV, "Leads out of the filespace")
        if self._allowed and not any(it.contains(location) for it in self._allowed):
            raise OSError(errno.EXDEV, "Outside the paths that may be cached")


def _open(path: str) -> int:
    try:
        return os.open(path, OPEN_FLAGS)
    except OSError as error:
        if error.errno in NO_FILE_ERRNOS:
            raise OSError(error.errno, "Not a regular file") from None
        raise
    except UnicodeEncodeError:
        raise OSError(errno.EILSEQ, "The name cannot be encoded for the filesystem") from None
    except ValueError:
        raise OSError(errno.EINVAL, "The name contains a null character") from None


def _regular_size(descriptor: int) -> int:
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "Not a regular file")


if hasattr(os, "posix_fadvise"):

    def _advise_sequential(descriptor: int) -> None:
        _advise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def _advise_dont_need(descriptor: int, offset: int, length: int) -> None:
        _advise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)

    def _advise(descriptor: int, offset: int, length: int, advice: int) -> None:
        try:
            os.posix_fadvise(descriptor, offset, length, advice)
        except OSError:
            # A filesystem that takes no advice can still be read.
            return

else:  # macOS

    def _advise_sequential(descriptor: int) -> None:
        """No such advice here."""

    def _advise_dont_need(descriptor: int, offset: int, length: int) -> None:
        """No such advice here."""
