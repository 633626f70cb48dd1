"""The role and the database of the gateway, in a server that runs."""

from __future__ import annotations

from contextlib import closing
from typing import Final

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor

from gateway.errors import EmbeddedPostgresError

SUPERUSER: Final = "postgres"
MAX_NAME_BYTES: Final = 63  # bytes; PostgreSQL cuts off the rest without a word


def check_name(name: str, what: str) -> None:
    """Raise `EmbeddedPostgresError` unless ``name`` can name a role or a database."""
    wrong = (
        not name.isprintable()
        or not 0 < len(name.encode(errors="replace")) <= MAX_NAME_BYTES
        or name.startswith(("pg_", "/"))
        or name in {"template0", "template1", "public", "none"}
    )
    if wrong:
        raise EmbeddedPostgresError(
            f"The {what} cannot be named {name[:70]!r}: a name has 1 to {MAX_NAME_BYTES} bytes, no "
            "control characters, does not start with pg_ or / and is none that PostgreSQL reserves"
        )


def provision(host: str, port: int, *, role: str, database: str) -> None:
    """Create ``role`` and its ``database`` where they are missing; psycopg2's errors pass."""
    connection = psycopg2.connect(
        host=host,
        port=port,
        user=SUPERUSER,
        dbname="postgres",
        connect_timeout=10,
        options="-c statement_timeout=0",  # PGOPTIONS of our environment shall not matter
    )
    with closing(connection):
        connection.autocommit = True
        with connection.cursor() as cur:
            _create_role(cur, role)
            _create_database(cur, database, role)


def _create_role(cur: cursor, role: str) -> None:
    cur.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,))
    if cur.rowcount == 0:
        cur.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))


def _create_database(cur: cursor, database: str, role: str) -> None:
    cur.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (database,))
    owner = cur.fetchone()
    if owner is None:
        statement = "CREATE DATABASE {} OWNER {} TEMPLATE template0"
    elif owner[0] != role:
        statement = "ALTER DATABASE {} OWNER TO {}"
    else:
        return
    cur.execute(sql.SQL(statement).format(sql.Identifier(database), sql.Identifier(role)))
