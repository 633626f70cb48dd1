"""How to connect to PostgreSQL."""

from __future__ import annotations

from typing import Any, Final

from gateway.settings import Settings

# What was sent and is not acknowledged by then is lost, and the connection with it.
NETWORK_SECONDS: Final = 30


def connection_arguments(settings: Settings) -> dict[str, Any]:
    """What psycopg2 and aiopg need to connect, in UTC and with bounded statements."""
    options = {
        "timezone": "UTC",
        # Our statements touch many rows through short plans: compiling costs more than it gains.
        "jit": "off",
        "statement_timeout": int(settings.db_statement_timeout * 1000),
        "idle_in_transaction_session_timeout": 60_000,
    }
    return {
        "host": settings.db_host,
        "port": settings.db_port,
        "dbname": settings.db_name,
        "user": settings.db_user,
        "password": settings.db_password.get_secret_value(),
        "application_name": "teamcache-gateway",
        "connect_timeout": max(2, int(settings.db_connect_timeout)),
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # Keepalives are not sent while something of ours is under way: this is for that.
        "tcp_user_timeout": NETWORK_SECONDS * 1000,
        "client_encoding": "utf8",
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
    }
