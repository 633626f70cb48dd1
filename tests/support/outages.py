"""A database that goes away."""

from __future__ import annotations

from typing import Any

from gateway.settings import Settings
from gateway.standalone.postgres import SUPERUSER
from support.index_rows import run

# Nobody listens on the discard port; the refusal comes at once.
NO_DATABASE = {"db_host": "127.0.0.1", "db_port": 9}


def kill_others(server: Any, database: str) -> None:
    """End every connection to a database, as a restart of PostgreSQL would."""
    settings = Settings(
        db_host=server.host, db_port=server.port, db_name="postgres", db_user=SUPERUSER
    )
    run(
        settings,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
        database,
    )
