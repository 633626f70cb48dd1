"""The memory that a reader reads into."""

from __future__ import annotations

import mmap
from typing import Final

# A chunk is read into one small buffer over and over: the bytes are not used, and a buffer that
# stays in the processor's cache is faster and keeps hundreds of readers small.
BUFFER_SIZE: Final = 256 * 1024
# Far below every system's IOV_MAX.
MAX_BUFFERS: Final = 256


class Buffers:
    """One buffer, listed as many times as a chunk of ``chunk_size`` bytes needs it."""

    def __init__(self, chunk_size: int) -> None:
        self._size = min(chunk_size, max(BUFFER_SIZE, -(-chunk_size // MAX_BUFFERS)))
        # Unlike a bytearray's, these pages take no memory before they are first read into.
        self._view = memoryview(mmap.mmap(-1, self._size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self._chunk_size = chunk_size
        self._chunk = self._listed(chunk_size)

    def for_bytes(self, count: int) -> list[memoryview]:
        """Buffers for ``count`` bytes, or for a whole chunk if that is less."""
        if count >= self._chunk_size:
            return self._chunk
        return self._listed(count)

    def _listed(self, count: int) -> list[memoryview]:
        whole, rest = divmod(count, self._size)
        listed = [self._view] * whole
        if rest:
            listed.append(self._view[:rest])
        return listed
