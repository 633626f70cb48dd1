"""Opens paths without symbolic links, by openat2(2): such a path is the file's real location."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from contextlib import suppress
from typing import Any, Final

# The number of openat2(2) on these processors; Python has no function for it.
OPENAT2: Final = 437
PROCESSORS: Final = ("x86_64", "aarch64", "riscv64")
AT_FDCWD: Final = -100
RESOLVE_NO_SYMLINKS: Final = 0x04


class _OpenHow(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def _is_known() -> bool:
    return sys.platform == "linux" and platform.machine() in PROCESSORS


def _syscall() -> Any:
    """The C library's ``syscall``; None if there is none."""
    with suppress(OSError, AttributeError):
        call = ctypes.CDLL(None).syscall
        call.restype = ctypes.c_long
        call.argtypes = (
            *(ctypes.c_long, ctypes.c_long, ctypes.c_char_p),
            *(ctypes.POINTER(_OpenHow), ctypes.c_size_t),
        )
        return call
    return None


class OpenNoSymlinks:
    """Opens files whose path leads through no symbolic link.

    That saves asking the kernel where an open file is, which costs as much as opening it. Works on
    Linux since 5.6, unless a sandbox forbids the call; elsewhere `open` always returns None.
    """

    def __init__(self, flags: int) -> None:
        how = _OpenHow(flags, 0, RESOLVE_NO_SYMLINKS)
        self._arguments = (ctypes.byref(how), ctypes.sizeof(how))
        self._call = _syscall() if _is_known() else None
        if self._call is not None and self._is_forbidden():
            self._call = None

    def open(self, path: str) -> int | None:
        """A descriptor; None if the path leads through a link or cannot be opened this way."""
        # A path that is not normalized is not the file's location.
        if self._call is None or "//" in path or "/." in path or "\0" in path:
            return None
        try:
            name = os.fsencode(path)
        except UnicodeEncodeError:
            return None
        descriptor: int = self._call(OPENAT2, AT_FDCWD, name, *self._arguments)
        return descriptor if descriptor >= 0 else None

    def _is_forbidden(self) -> bool:
        descriptor = self.open(os.sep)
        if descriptor is None:
            return True
        os.close(descriptor)
        return False
