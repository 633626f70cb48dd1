"""Rows that have outlived their use."""

from __future__ import annotations

from gateway.database.database import Database


async def delete_old(database: Database, query: str, batch: int) -> int:
    """Run ``query``, which deletes ``limit`` old rows, until there are no more; returns how many.

    Batch by batch, so that none holds others up. Raises `DatabaseUnavailable`.
    """
    total = 0
    while True:
        async with database.session() as session:
            deleted = await session.execute(query, {"limit": batch})
        total += deleted
        if deleted < batch:
            return total
