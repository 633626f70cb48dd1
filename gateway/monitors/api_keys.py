"""Keeps the database's API keys in memory, up to date by LISTEN."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import Final

from gateway.auth.api_keys import ApiKeys, StoredKey
from gateway.auth.callers import Grants
from gateway.auth.key_store import KEYS_CHANNEL, KeyRecord, KeyStore
from gateway.database import Database
from gateway.database.readiness import Readiness
from gateway.errors import SettingsError
from gateway.monitors.loop import Monitor
from gateway.paths import Filespaces

log = logging.getLogger(__name__)

NOWHERE: Final = "/\0"
"""A folder that can hold no path."""


class ApiKeysMonitor(Monitor):
    """Reads the keys whenever listening starts and whenever a change is announced.

    While the database is unavailable, the last known keys stay valid.
    """

    name = "api-keys"
    interval = 1.0

    def __init__(
        self,
        database: Database,
        store: KeyStore,
        keys: ApiKeys,
        filespaces: Filespaces,
        readiness: Readiness,
    ) -> None:
        super().__init__()
        self._database = database
        self._store = store
        self._keys = keys
        self._filespaces = filespaces
        self._readiness = readiness

    async def check_once(self) -> bool:
        """Listen until the connection is lost."""
        await self._readiness.wait()
        ok = self.heartbeat.ok
        async with aclosing(self._database.listen(KEYS_CHANNEL, on_probe=ok)) as notifications:
            async for _ in notifications:
                await self._read()
                ok()
        return False

    async def _read(self) -> None:
        self._keys.load([self._stored(record) for record in await self._store.all()])

    def _stored(self, record: KeyRecord) -> StoredKey:
        grants = Grants(
            frozenset(record.scopes),
            self._prefixes(record),
            record.rate_limit_per_minute,
            record.poll_limit_per_minute,
        )
        return StoredKey(
            record.name,
            record.digest,
            grants,
            record.expires_at.timestamp() if record.expires_at else None,
            is_disabled=record.disabled_at is not None,
            is_revoked=record.revoked_at is not None,
            public_key=record.public_key,
        )

    def _prefixes(self, record: KeyRecord) -> tuple[str, ...]:
        """The folders that the key may cache, as this gateway mounts them.

        An invalid prefix allows nothing: a key with prefixes never becomes unrestricted.
        """
        prefixes: list[str] = []
        for written in record.path_prefixes:
            try:
                prefixes += self._filespaces.read_prefixes((written,))
            except SettingsError as error:
                log.warning('the key "%s" may not cache there: %s', record.name, error.message)
        return tuple(prefixes) or ((NOWHERE,) if record.path_prefixes else ())
