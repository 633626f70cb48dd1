"""Indexing a folder creates its rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.index.listing import Entry, Listing, digest_of
from gateway.index.table import Changes
from support.indexer_tools import apply_listings, read_rows, write, written


async def test_a_file_becomes_a_row(index, settings, mount):
    file = write(mount / "00_Media" / "a.mov", "12345")
    file.chmod(0o640)

    result = await index()

    row = read_rows(settings)[str(file)]
    assert (row.name, row.parent_path, row.is_directory) == ("a.mov", f"{mount}/00_Media", False)
    assert (row.size, row.permissions, row.cached) == (5, 0o640, False)
    assert row.modified_at.isoformat() == "2023-11-14T22:13:20.123456"
    assert (result.files, result.directories, result.bytes) == (1, 2, 5)
    assert written(result) == (3, 0, 0)


async def test_a_folder_becomes_a_row_without_size(index, settings, mount):
    folder = mount / "00_Media"
    folder.mkdir(mode=0o750)
    await index()
    row = read_rows(settings)[str(folder)]
    assert (row.name, row.parent_path, row.is_directory) == ("00_Media", str(mount), True)
    assert (row.size, row.permissions) == (0, 0o750)


async def test_the_folder_itself_gets_a_row(index, settings, mount):
    await index(mount)
    row = read_rows(settings)[str(mount)]
    assert (row.name, row.parent_path, row.is_directory) == (mount.name, str(mount.parent), True)


async def test_rows_have_the_time_of_indexing_in_utc(index, settings, mount):
    before = datetime.now(UTC).replace(tzinfo=None)
    write(mount / "a")
    await index()
    first = read_rows(settings)[str(mount / "a")]
    assert before <= first.indexed_at == first.updated_at <= before + timedelta(minutes=1)

    write(mount / "a", "changed")
    await index()
    second = read_rows(settings)[str(mount / "a")]
    assert second.indexed_at == first.indexed_at
    assert second.updated_at > first.updated_at


async def test_trailing_and_repeated_slashes_are_ignored(index, settings, mount):
    write(mount / "a" / "b")
    await index(f"/{mount}//a/")
    assert set(read_rows(settings)) == {f"{mount}/a", f"{mount}/a/b"}


@pytest.mark.parametrize(
    "name",
    [
        "line\nbreak", "carriage\rreturn", "tab\ttab", "back\\slash", "\\N", "\\.", "\\x41",
        'double"quote', "single'quote", "100%", "%s", "under_score", " leading", "trailing ",
        "🎬.mov", "Cafe\u0301", "Caf\u00e9", "ÜBER", "\x01\x7f", "{}", "$$", "-- x", "d", "f",
    ],
)  # fmt: skip
async def test_names_are_stored_literally(index, settings, mount, name):
    write(mount / name / name)
    assert written(await index()) == (3, 0, 0)
    row = read_rows(settings)[f"{mount}/{name}/{name}"]
    assert (row.name, row.parent_path) == (name, f"{mount}/{name}")
    assert written(await index()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("ns", "stored"),
    [
        (-(1 << 80), "0001-01-01T00:00:00"),
        (-1, "1969-12-31T23:59:59.999999"),
        (0, "1970-01-01T00:00:00"),
        (8_000_000_000_123_456_789, "2223-07-06T14:13:20.123456"),
        (253_402_300_798_999_999_999, "9999-12-31T23:59:58.999999"),
        (1 << 80, "9999-12-31T23:59:59"),
    ],
)
async def test_extreme_modification_times_are_stored(settings, mount, ns, stored):
    entries: list[Entry] = [("a", "f", 1, ns, 0o644)]
    listing = Listing(str(mount), entries, 0, [], [], digest_of(str(mount), entries))
    for added in (1, 0):
        assert apply_listings(settings, mount, listing) == Changes(added, 0, 0)
    assert read_rows(settings)[f"{mount}/a"].modified_at.isoformat() == stored
