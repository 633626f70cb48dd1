"""Rows are updated with the folder, and nothing else is written."""

from __future__ import annotations

import shutil

import pytest

from gateway.index import listing as index_listing
from gateway.index import table as index_table
from gateway.index.listing import Listing
from gateway.index.scan import Scan
from gateway.index.table import Changes, IndexTable
from support.indexer_tools import (
    JOB,
    MODIFIED_NS,
    apply_listings,
    connect,
    fetch,
    paths_below,
    read_rows,
    set_cached_flags,
    write,
    written,
)


async def test_a_second_run_writes_nothing(index, settings, mount):
    for number in range(20):
        write(mount / f"reel_{number % 4}" / f"{number}.mov")
    await index()
    before = read_rows(settings)

    result = await index()

    assert written(result) == (0, 0, 0)
    assert (result.files, result.directories) == (20, 5)
    assert read_rows(settings) == before


async def test_the_digests_of_unchanged_folders_are_recognized(settings, index, mount):
    for name in ["a", "B", "ä", "é", "🎬", "tab\t", "\\", "z z"]:
        write(mount / name / f"{name}.mov", name)
        write(mount / name / "old", modified_ns=-1_500_000_000_999_999_999)
    await index()
    with connect(settings) as cursor:
        table = IndexTable(cursor.connection, str(mount), lambda _seconds: None)
        table.load()
        scan = Scan(str(mount), str(mount), 2, has_digests=True)
        scan.start()
        listings = list(scan.listings())
        for listing in listings:
            table.add(listing)
        assert len(listings) == 9
        assert not table._digests
        assert not table._seen.used


async def test_unchanged_folders_are_not_sent_to_the_database(index, mount, monkeypatch):
    for name in "abc":
        write(mount / name / "x.mov")
    sent: list[str] = []

    def note(listing: Listing) -> str:
        sent.append(listing.directory)
        return copy_text(listing)

    copy_text = index_table._copy_text
    monkeypatch.setattr(index_table, "_copy_text", note)
    await index()
    assert len(sent) == 4
    sent.clear()
    (mount / "b" / "y.mov").touch()
    await index()
    # The folder itself, and its parent, whose entry has the new time.
    assert sorted(sent) == [str(mount), f"{mount}/b"]


@pytest.mark.parametrize("change", [{"content": "longer"}, {"modified_ns": MODIFIED_NS + 10**7}])
async def test_a_changed_file_is_no_longer_cached(index, settings, mount, change):
    changed, same = write(mount / "changed"), write(mount / "same")
    await index()
    set_cached_flags(settings)

    write(changed, **change)
    result = await index()

    rows = read_rows(settings)
    row = rows[str(changed)]
    assert (row.cached, row.cached_at, row.cache_job_id) == (False, None, None)
    assert row.size == len(change.get("content", "x"))
    assert rows[str(same)].cached and str(rows[str(same)].cache_job_id) == JOB
    assert result.changed in (1, 2)  # writing may have touched the folder as well


async def test_changed_permissions_leave_a_file_cached(index, settings, mount):
    file = write(mount / "a")
    await index()
    set_cached_flags(settings)
    file.chmod(0o600)
    assert written(await index()) == (0, 1, 0)
    row = read_rows(settings)[str(file)]
    assert (row.permissions, row.cached, str(row.cache_job_id)) == (0o600, True, JOB)


@pytest.mark.parametrize("stored", ["22:13:20.123", "22:13:20.124"])
async def test_truncated_or_rounded_times_count_as_equal(index, settings, mount, stored):
    file = write(mount / "a", modified_ns=1_700_000_000_123_600_000)
    await index()
    set_cached_flags(settings)
    time = f"2023-11-14 {stored}"
    fetch(settings, "UPDATE files SET modified_at = %s WHERE path = %s", time, str(file))
    assert written(await index()) == (0, 0, 0)
    assert read_rows(settings)[str(file)].cached


async def test_rows_of_removed_files_are_deleted(index, settings, mount):
    for name in ("keep", "folder/a", "folder/deep/b", "file"):
        write(mount / name)
    await index()
    shutil.rmtree(mount / "folder")
    (mount / "file").unlink()
    result = await index()
    assert paths_below(settings, mount) == {"keep"}
    assert result.removed == 5


async def test_a_folder_that_became_empty_loses_its_rows(index, settings, mount):
    write(mount / "keep")
    write(mount / "folder" / "a")
    await index()
    (mount / "folder" / "a").unlink()
    await index()
    assert paths_below(settings, mount) == {"keep", "folder"}


async def test_a_file_can_become_a_folder_and_a_file_again(index, settings, mount):
    write(mount / "keep")
    write(mount / "a")
    await index()
    set_cached_flags(settings)

    (mount / "a").unlink()
    write(mount / "a" / "b")
    await index()
    row = read_rows(settings)[str(mount / "a")]
    assert (row.is_directory, row.size, row.cached) == (True, 0, False)
    assert paths_below(settings, mount) == {"keep", "a", "a/b"}

    shutil.rmtree(mount / "a")
    write(mount / "a", "abc")
    await index()
    row = read_rows(settings)[str(mount / "a")]
    assert (row.is_directory, row.size) == (False, 3)
    assert paths_below(settings, mount) == {"keep", "a"}


async def test_only_the_given_folder_is_changed(index, settings, mount):
    for folder in ("a_b", "axb", "a_b0", "a_b.d", "a_b-", "a_"):
        write(mount / folder / "file")
    await index()
    everything = paths_below(settings, mount)
    for folder in ("a_b", "axb", "a_b0", "a_b.d", "a_b-", "a_"):
        (mount / folder / "file").unlink()
        write(mount / folder / "other")
    await index(mount / "a_b")
    assert paths_below(settings, mount) == everything - {"a_b/file"} | {"a_b/other"}


async def test_a_large_folder_is_indexed_in_parts(index, settings, mount, monkeypatch):
    monkeypatch.setattr(index_listing, "LISTING_ENTRIES", 10)
    monkeypatch.setattr(index_table, "LISTING_ENTRIES", 10)
    for number in range(35):
        write(mount / f"{number}.exr")
    for number in range(12):
        write(mount / f"folder {number}" / "file")
    result = await index()
    assert (result.files, result.directories) == (47, 13)
    assert len(paths_below(settings, mount)) == 59
    assert written(await index()) == (0, 0, 0)

    (mount / "7.exr").unlink()
    shutil.rmtree(mount / "folder 3")
    result = await index()
    assert result.removed == 3
    assert len(paths_below(settings, mount)) == 56


async def test_inconsistent_rows_are_corrected(index, settings, mount):
    for name in ("folder/a", "folder/b", "folder/c", "folder/d", "folder/e", "swap/1", "swap/2"):
        write(mount / name)
    await index()
    sound = {path: row[1:8] for path, row in read_rows(settings).items()}
    update = "UPDATE files SET {} WHERE path = %s"
    for name, column in {
        "a": "parent_path = NULL",
        "b": "parent_path = parent_path || '/'",
        "c": "modified_at = NULL, size = NULL, permissions = NULL",
        "d": "modified_at = 'infinity'",
        "e": "name = 'other'",
    }.items():
        fetch(settings, update.format(column), f"{mount}/folder/{name}")
    fetch(settings, "UPDATE files SET name = 3 - name::integer WHERE path LIKE '%%/swap/_'")
    orphans = [(f"{mount}/gone/x", f"{mount}/gone"), (f"{mount}/gone/y", None)]
    for path, parent in [*orphans, (f"{mount}/folder/z", f"{mount}/folder/")]:
        insert = "INSERT INTO files (path, name, parent_path) VALUES (%s, 'x', %s)"
        fetch(settings, insert, path, parent)

    fetch(settings, "INSERT INTO files (path, name) VALUES ('/elsewhere/x', 'x')")

    assert written(await index()) == (0, 7, 3)

    fetch(settings, "DELETE FROM files WHERE path = '/elsewhere/x' RETURNING 1").pop()
    assert {path: row[1:8] for path, row in read_rows(settings).items()} == sound


async def test_a_name_that_the_filesystem_lists_twice_counts_once(settings, mount):
    listing = Listing(str(mount), [("a", "f", 1, MODIFIED_NS, 0o644)], 0, [], [])
    assert apply_listings(settings, mount, listing, listing) == Changes(1, 0, 0)


async def test_a_large_load_is_analyzed(index, settings, mount, monkeypatch):
    monkeypatch.setattr(index_table, "ANALYZE_FROM_ROWS", 5)
    for number in range(5):
        write(mount / str(number))
    await index()
    (row,) = fetch(settings, "SELECT reltuples FROM pg_class WHERE oid = 'files'::regclass")
    assert row.reltuples == 6


@pytest.mark.parametrize("what", ["new file", "changed file", "new folder"])
async def test_a_directory_with_an_uncached_file_below_is_no_longer_cached(
    index, settings, mount, what
):
    for name in ("reels/day 1/a.mov", "reels/day 2/b.mov", "audio/c.wav"):
        write(mount / name)
    await index()
    set_cached_flags(settings)
    if what == "new folder":
        write(mount / "reels/day 1/more/d.mov")
    else:
        name = "a.mov" if what == "changed file" else "d.mov"
        write(mount / "reels/day 1" / name, "other content")
    await index()
    rows = read_rows(settings)
    opened = (mount, mount / "reels", mount / "reels/day 1")
    assert [rows[str(path)].cached for path in opened] == [False] * 3
    assert rows[str(mount / "reels")].cached_at is None
    kept = (mount / "reels/day 2", mount / "audio")
    assert [rows[str(path)].cached for path in kept] == [True] * 2


async def test_a_vanished_file_leaves_its_directory_cached(index, settings, mount):
    for name in ("reels/a.mov", "reels/b.mov"):
        write(mount / name)
    await index()
    set_cached_flags(settings)
    (mount / "reels/a.mov").unlink()
    await index()
    assert read_rows(settings)[str(mount / "reels")].cached
