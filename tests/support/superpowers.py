"""Root without its right to read everything."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from support.optional_programs import leave_out


@contextmanager
def without_superpowers() -> Iterator[None]:
    """Take from this thread root's right to read everything (Linux)."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    granted, reduced = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    if not hasattr(libc, "capget") or libc.capget(header, granted):
        leave_out("root can read everything here")
    reduced[:] = granted[:]
    reduced[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, reduced) == 0
    try:
        yield
    finally:
        assert libc.capset(header, granted) == 0


def powerless(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, run by somebody who is not root."""

    def run(*arguments: Any) -> Any:
        with without_superpowers():
            return function(*arguments)

    return run
