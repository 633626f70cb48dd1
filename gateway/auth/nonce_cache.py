"""The nonces of signed requests that this gateway received."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

REMEMBERED_NONCES: Final = 100_000


class NonceCache:
    """Nonces in memory, each until its signature expires.

    Memory is bounded: of more than 100,000 the oldest is dropped. Those of requests that change
    something are also in the database, see `gateway.auth.nonce_store`.
    """

    def __init__(self, limit: int = REMEMBERED_NONCES) -> None:
        self._limit = limit
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ends)

    def spend(self, key_name: str, nonce: str, end: float, now: float) -> bool:
        """Keep the nonce until ``end``; whether it was new. Times are in seconds of one clock."""
        self._purge(now)
        name = blake2b(f"{len(key_name)} {key_name} {nonce}".encode(), digest_size=16).digest()
        if self._ends.get(name, now) > now:
            return False
        self._ends[name] = end
        self._ends.move_to_end(name)
        if len(self._ends) > self._limit:
            self._ends.popitem(last=False)
        return True

    def _purge(self, now: float) -> None:
        while self._ends and next(iter(self._ends.values())) <= now:
            self._ends.popitem(last=False)
