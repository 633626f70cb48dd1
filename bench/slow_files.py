"""A slow filespace made up: latency per open and per chunk, and one link for all readers."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Final

LATENCY: Final = (0.02, 0.08)


class Link:
    """A line that carries ``bytes_per_second``, one piece after another. Pure, for any thread."""

    def __init__(self, bytes_per_second: float) -> None:
        self._bytes_per_second = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = 0.0

    def carry(self, size: int, now: float) -> float:
        """Put ``size`` bytes on the line at ``now``; returns when the last of them is there."""
        with self._lock:
            self._free_at = max(now, self._free_at) + size / self._bytes_per_second
            return self._free_at


class SlowFiles:
    """A `FileSource` of files that nobody stored: ``sizes`` says which there are.

    Each open and each read waits for ``latency`` seconds, drawn evenly from that range, and what is
    read then comes over a link of ``bytes_per_second``. Nobody waits with a busy processor, and
    buffers are left as they are: readers do not look at the bytes.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        bytes_per_second: float,
        latency: tuple[float, float] = LATENCY,
        seed: int = 1,
    ) -> None:
        self._sizes = sizes
        self._latency = latency
        self._random = random.Random(seed)
        self._link = Link(bytes_per_second)
        self._numbers = count(1)
        self._open: dict[int, int] = {}
        self._lock = threading.Lock()
        self._reading = 0
        self.most_at_once = 0
        """Calls that were under way at the same time, at most."""
        self.delivered: list[tuple[float, int]] = []
        """When how many bytes had come, on the clock of `time.monotonic`."""

    def open(self, path: str, /) -> tuple[int, int]:
        """Wait; returns a number and the size. Raises OSError for a file that there is not."""
        self._wait()
        if path not in self._sizes:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        number = next(self._numbers)
        self._open[number] = size = self._sizes[path]
        return number, size

    def read(self, number: int, buffers: Sequence[memoryview], offset: int, /) -> int:
        """Wait until what the buffers hold has come from ``offset`` on; returns the bytes."""
        wanted = sum(map(len, buffers))
        size = min(wanted, max(0, self._open[number] - offset))
        with self._lock:
            self._reading += 1
            self.most_at_once = max(self.most_at_once, self._reading)
        self._wait()
        _sleep_until(self._link.carry(size, time.monotonic()))
        with self._lock:
            self._reading -= 1
            self.delivered.append((time.monotonic(), size))
        return size

    def forget(self, number: int, offset: int, length: int, /) -> None:
        """Nothing is kept."""

    def close(self, number: int, /) -> None:
        """Forget the file."""
        del self._open[number]

    def _wait(self) -> None:
        time.sleep(self._random.uniform(*self._latency))


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
