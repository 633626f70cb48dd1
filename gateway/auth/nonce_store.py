"""The nonces of signed requests that change something, shared by all gateways."""

from __future__ import annotations

from gateway.database import Database
from gateway.database.sql import load_queries


class NonceStore:
    """Nonces in the database, each kept until after its signature expires."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = load_queries("nonces")

    async def spend(self, key_name: str, nonce: str) -> bool:
        """Store the nonce; whether it was new. Raises `DatabaseUnavailable`."""
        parameters = {"key_name": key_name, "nonce": nonce}
        # Without retries: a second try would find the nonce of the first.
        async with self._database.session() as session:
            return await session.fetch_one(self._queries["spend"], parameters) is not None
