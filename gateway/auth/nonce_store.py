"""The nonces of signed requests that change something: each counts once at all gateways."""

from __future__ import annotations

from gateway.database import Database
from gateway.database.sql import load_queries


class NonceStore:
    """Nonces in the database. They are kept for longer than any signature with them is good."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = load_queries("nonces")

    async def spend(self, key_name: str, nonce: str) -> bool:
        """Keep the nonce; whether it was new. Raises `DatabaseUnavailable`."""
        parameters = {"key_name": key_name, "nonce": nonce}
        # Never tried a second time, when it would be found as its own replay.
        async with self._database.session() as session:
            return await session.fetch_one(self._queries["spend"], parameters) is not None
