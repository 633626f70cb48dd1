"""Databases that one test uses after another: a clone takes 40 ms and a drop 25, emptying one 20.

A database goes to the next test only if nothing but rows tells it from the template. Otherwise it
is dropped, and the next test gets a new clone. It is emptied when the next test takes it: by then
the last one has ended, whatever the order of its fixtures, and no application writes to it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from gateway.settings import Settings
from gateway.standalone.postgres import EmbeddedPostgres
from support.database import (
    ROLE,
    administer,
    connect_as_superuser,
    create_database,
    make_settings,
)

# How long a connection that another test has left may take to end.
SECONDS = 2.0

TERMINATE_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

# What a test may change besides rows. Names are qualified, as the search path is empty.
FINGERPRINT = f"""
WITH ours AS (
    SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), relations AS (
    SELECT c.* FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
)
SELECT format('schema %s', to_jsonb(n)) FROM pg_namespace n JOIN ours USING (oid)
UNION ALL
SELECT format('relation %s %s %s %s %s %s %s', oid::regclass, relkind, relowner, relacl,
    reloptions, relrowsecurity, CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END)
FROM relations
UNION ALL
SELECT format('column %s %s %s %s %s %s %s', attrelid::regclass, attname, attisdropped,
    format_type(atttypid, atttypmod), attnotnull, attacl, pg_get_expr(adbin, adrelid))
FROM pg_attribute a JOIN relations ON relations.oid = attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = attrelid AND adnum = attnum
WHERE attnum > 0
UNION ALL
SELECT format('index %s %s', pg_get_indexdef(indexrelid), indisvalid)
FROM pg_index JOIN relations ON relations.oid = indrelid
UNION ALL
SELECT format('constraint %s %s', conname, pg_get_constraintdef(c.oid))
FROM pg_constraint c JOIN ours ON ours.oid = connamespace
UNION ALL
SELECT format('trigger %s %s', pg_get_triggerdef(t.oid), tgenabled)
FROM pg_trigger t JOIN relations ON relations.oid = tgrelid WHERE NOT tgisinternal
UNION ALL
SELECT format('rule %s', pg_get_ruledef(r.oid))
FROM pg_rewrite r JOIN relations ON relations.oid = ev_class AND relkind = 'r'
UNION ALL
SELECT format('function %s', to_jsonb(p)) FROM pg_proc p JOIN ours ON ours.oid = pronamespace
UNION ALL
SELECT format('type %s %s', typname, typtype) FROM pg_type JOIN ours ON ours.oid = typnamespace
UNION ALL
SELECT format('extension %s', extname) FROM pg_extension
UNION ALL
SELECT format('publication %s', pubname) FROM pg_publication
UNION ALL
SELECT format('prepared %s', gid) FROM pg_prepared_xacts WHERE database = current_database()
UNION ALL
SELECT format('setting %s %s', setrole, setconfig) FROM pg_db_role_setting
LEFT JOIN pg_database d ON d.oid = setdatabase
WHERE setdatabase = 0 OR datname = current_database()
UNION ALL
SELECT format('database %s %s %s %s', datdba, datacl, datallowconn, datconnlimit)
FROM pg_database WHERE datname = current_database()
UNION ALL
SELECT format('role %s', to_jsonb(r) - 'oid') FROM pg_roles r WHERE rolname = '{ROLE}'
ORDER BY 1
"""

TABLES = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
"""
# A table that was analysed while it was empty counts as used: the planner knows it. So does one
# whose constraint refused every row: its sequence has given an id away.
USED_TABLES = f"""{TABLES} AND (
    pg_relation_size(c.oid) > 0 OR reltuples >= 0 OR EXISTS (
        SELECT FROM pg_depend d JOIN pg_sequence q ON q.seqrelid = d.objid
        WHERE d.refobjid = c.oid AND pg_sequence_last_value(q.seqrelid) IS NOT NULL
    )
)"""
FORGET_STATISTICS = """
DELETE FROM pg_statistic s USING pg_class c, pg_namespace n
WHERE c.oid = starelid AND n.oid = relnamespace AND nspname !~ '^pg_'
AND nspname <> 'information_schema'
"""


class ReusedDatabases:
    """Clones of a template with all tables."""

    def __init__(self, server: EmbeddedPostgres, template: str, names: Iterator[str]) -> None:
        self._server = server
        self._template = template
        self._names = names
        self._used: list[str] = []
        self._untouched: Any = None
        self._kept: list[str] = []

    @contextmanager
    def one(self) -> Iterator[Settings]:
        """Settings that lead to a database with all tables, which are empty."""
        name = self._take_used() or self._clone()
        try:
            yield make_settings(self._server, name)
        finally:
            self._used.append(name)

    def _take_used(self) -> str | None:
        # What a test set for its role in every database would outlive each of them.
        administer(self._server, "ALTER ROLE {} RESET ALL", ROLE)
        while self._used:
            name = self._used.pop()
            if self._empty(name):
                return name
            administer(self._server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
        return None

    def _clone(self) -> str:
        name = next(self._names)
        create_database(self._server, name, self._template)
        if self._untouched is None:
            with closing(connect_as_superuser(self._server, name)) as connection:
                self._look_at_untouched(connection.cursor())
        return name

    def _look_at_untouched(self, cur: Any) -> None:
        cur.execute("SET search_path = ''")
        cur.execute(TABLES)
        tables = [row[0] for row in cur.fetchall()]
        self._kept = [name for name in tables if _rows(cur, [name])]
        self._untouched = self._fingerprint(cur)

    def _fingerprint(self, cur: Any) -> Any:
        cur.execute(FINGERPRINT)
        return cur.fetchall(), _rows(cur, self._kept)

    def _empty(self, name: str) -> bool:
        """Whether the database is as it was before a test."""
        try:
            with closing(connect_as_superuser(self._server, name)) as connection:
                connection.autocommit = True
                return self._empty_by(connection.cursor())
        except psycopg2.Error:
            return False

    def _empty_by(self, cur: Any) -> bool:
        cur.execute("SET search_path = ''")
        # Not before they have ended: what one of them commits late would reach the next test.
        deadline = time.monotonic() + SECONDS
        while cur.execute(TERMINATE_OTHERS) or cur.rowcount:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        if self._fingerprint(cur) != self._untouched:
            return False
        cur.execute(USED_TABLES)
        used = [row[0] for row in cur.fetchall() if row[0] not in self._kept]
        if used:
            cur.execute(f"TRUNCATE {', '.join(used)} RESTART IDENTITY CASCADE")
        cur.execute(FORGET_STATISTICS)
        return True


def _rows(cur: Any, tables: list[str]) -> list[Any]:
    found = []
    for name in tables:
        cur.execute(f"SELECT t::text FROM {name} t ORDER BY 1")
        found += cur.fetchall()
    return found
