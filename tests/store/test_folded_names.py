"""What PostgreSQL takes for the same name: the function, its index, and what hosts notice of it."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from gateway.database import Database, array_literal
from gateway.database.migrations import migrate
from gateway.database.sql import load_queries
from gateway.index.path_lookup import PathLookup
from gateway.mount.mount import Mount
from gateway.paths import Filespaces
from gateway.settings import Settings
from gateway.standalone.postgres import SUPERUSER, EmbeddedPostgres
from support.database import ROLE, administer, make_settings
from support.index_rows import add_files, run
from support.manager_schema import run_as
from support.manager_use import is_up_to_date, step_titles

MOUNT = "/media/lucidlink-1"
LOOK_UP = load_queries("paths")["look_up"]
# Latin, Greek and Cyrillic capitals, and the final sigma.
FOLDED = [range(0x41, 0x5B), range(0xC0, 0x17F), range(0x386, 0x3CF), range(0x400, 0x430)]
PLAIN = [range(0x20, 0x7F), range(0xA0, 0x250), range(0x370, 0x530), range(0x1E00, 0x2000)]


def fold_all(settings: Settings, names: Iterable[str]) -> list[str]:
    listed = array_literal(names)
    rows = run(
        settings,
        "SELECT teamcache_gateway.folded(name) AS folded"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS listed (name, place) ORDER BY place",
        listed,
    )
    return [row.folded for row in rows]


def simple_fold(letter: str) -> str:
    """Unicode's simple folding, as far as the function goes."""
    folded = letter.casefold()
    is_listed = any(ord(letter) in letters for letters in FOLDED)
    return folded if is_listed and len(folded) == 1 else letter


def test_case_is_that_of_unicodes_simple_folding(shared_database: Settings) -> None:
    letters = [chr(code) for block in PLAIN for code in block]
    names = [unicodedata.normalize("NFC", f"/{letter}x") for letter in letters]
    expected = ["".join(map(simple_fold, name)) for name in names]
    assert fold_all(shared_database, names) == expected


def test_every_unicode_form_folds_alike(shared_database: Settings) -> None:
    letters = [chr(code) for block in [*PLAIN, range(0xAC00, 0xAD00)] for code in block]
    assigned = [it for it in letters if unicodedata.category(it) != "Cn"]
    folds = [
        fold_all(shared_database, [unicodedata.normalize(form, f"/{it}x") for it in assigned])
        for form in ("NFC", "NFD")
    ]
    assert folds[0] == folds[1]


def test_a_letter_folds_wherever_it_stands(shared_database: Settings) -> None:
    capitals = [chr(c) for block in FOLDED for c in block if simple_fold(chr(c)) != chr(c)]
    names = [f"日本/{capital}/ü{capital}" for capital in capitals]
    assert fold_all(shared_database, names) == [
        f"日本/{simple_fold(it)}/ü{simple_fold(it)}" for it in capitals
    ]


def test_names_that_only_share_their_hash_are_not_taken_for_the_same(
    database_settings: Settings,
) -> None:
    add_files(database_settings, ["Shot.mov", "Other.mov"])
    # Every name has the same hash here.
    shadow = """
    CREATE SCHEMA shadow;
    CREATE FUNCTION shadow.hashtextextended(text, bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE AS 'SELECT 7::bigint';
    SET search_path = shadow, pg_catalog, public;
    """
    paths = array_literal([f"{MOUNT}/shot.mov", f"{MOUNT}/nothing.mov"])
    rows = run(database_settings, shadow + LOOK_UP % {"paths": f"'{paths}'"})
    assert [(row.path, row.other) for row in rows] == [
        (f"{MOUNT}/shot.mov", f"{MOUNT}/Shot.mov"),
        (f"{MOUNT}/nothing.mov", None),
    ]


def test_a_name_as_long_as_the_host_takes_is_no_trouble(database_settings: Settings) -> None:
    """An index of the text itself would refuse rows that the host's own indexes may take."""
    random = "".join(chr(0x4E00 + (n * 7919) % 20000) for n in range(850))
    run(
        database_settings,
        "ALTER TABLE files DROP CONSTRAINT files_path_key;"
        " DROP INDEX teamcache_gateway_files_path_prefix;"
        " INSERT INTO files (path, name) VALUES (%s, 'long')",
        f"{MOUNT}/{random * 2}",
    )


def test_whoever_adds_files_needs_no_right_of_ours(empty_database: Settings) -> None:
    run_as(
        empty_database,
        SUPERUSER,
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {ROLE} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        "DO $$ BEGIN IF to_regrole('adding_files') IS NULL THEN CREATE ROLE adding_files;"
        " END IF; END $$",
    )
    run_migrations(empty_database)
    run_as(
        empty_database,
        SUPERUSER,
        "GRANT INSERT, SELECT ON files TO adding_files",
        "GRANT USAGE ON SEQUENCE files_id_seq TO adding_files",
    )
    rows = run_as(
        empty_database,
        "adding_files",
        "INSERT INTO files (path, name) VALUES ('/media/É', 'É') RETURNING path",
    )
    assert rows == [("/media/É",)]


def run_migrations(settings: Settings) -> None:
    assert asyncio.run(migrate(settings)) == step_titles()


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def database_without_unicode(
    request: pytest.FixtureRequest, postgres_server: EmbeddedPostgres
) -> Iterator[Settings]:
    name = f"test_{request.param.lower()}"
    administer(
        postgres_server,
        f"CREATE DATABASE {{}} OWNER {{}} ENCODING '{request.param}' TEMPLATE template0"
        " LC_COLLATE 'C' LC_CTYPE 'C'",
        *(name, ROLE),
    )
    yield make_settings(postgres_server, name)
    administer(postgres_server, "DROP DATABASE {} WITH (FORCE)", name)


async def test_a_database_without_unicode_knows_the_case_of_ascii(
    database_without_unicode: Settings,
) -> None:
    settings = database_without_unicode
    assert await migrate(settings) == step_titles()
    assert await is_up_to_date(settings)
    add_files(settings, ["Shot.mov", "É.mov"])
    found = await find(settings, "shot.mov", "É.mov", "é.mov", "new.mov")
    assert {path: entry.path for path, entry in found.entries.items()} == {
        f"{MOUNT}/shot.mov": f"{MOUNT}/Shot.mov",
        f"{MOUNT}/É.mov": f"{MOUNT}/É.mov",
    }


async def find(settings: Settings, *names: str) -> Any:
    async with Database(settings) as database:
        lookup = PathLookup(database, Mount([MOUNT]), Filespaces.single(MOUNT))
        return await lookup.find({f"{MOUNT}/{name}": None for name in names})
