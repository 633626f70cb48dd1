"""A folder becomes rows, and follows it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import NamedTupleCursor

from gateway import index_scan, index_table, indexer
from gateway.database import connection_arguments
from gateway.errors import DatabaseUnavailable, IndexRefused
from gateway.index_scan import Listing, Scan
from gateway.index_table import Changes, IndexTable
from gateway.indexer import Indexer, IndexProgress, IndexResult
from gateway.settings import Settings

JOB = "b0a1c2d3-0000-4000-8000-000000000001"
MODIFIED_NS = 1_700_000_000_123_456_789


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    folder = tmp_path / "filespace"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(database_settings: Settings, mount: Path) -> Settings:
    return database_settings.model_copy(update={"container_mount_point": str(mount)})


@pytest.fixture
def index(settings: Settings, mount: Path) -> Callable[..., Any]:
    """Index a folder, the whole filespace by default."""

    async def run(directory: Path | str = mount, **options: Any) -> IndexResult:
        return await Indexer(settings).index(str(directory), **options)

    return run


@contextmanager
def connect(settings: Settings) -> Iterator[Any]:
    connection = psycopg2.connect(**connection_arguments(settings), cursor_factory=NamedTupleCursor)
    with closing(connection), connection.cursor() as cursor:
        yield cursor


def fetch(settings: Settings, statement: str, *parameters: object) -> list[Any]:
    with connect(settings) as cursor:
        cursor.execute(statement, parameters)
        rows: list[Any] = cursor.fetchall() if cursor.description else []
        cursor.connection.commit()
        return rows


def read_rows(settings: Settings) -> dict[str, Any]:
    return {row.path: row for row in fetch(settings, "SELECT *, xmin::text FROM files")}


def paths_below(settings: Settings, mount: Path) -> set[str]:
    """The indexed paths, relative to the mount point, which itself is left out."""
    return {path.removeprefix(f"{mount}/") for path in read_rows(settings) if path != str(mount)}


def mark_cached(settings: Settings) -> None:
    fetch(settings, "UPDATE files SET cached = true, cached_at = now(), cache_job_id = %s", JOB)


def write(path: Path, content: str = "x", modified_ns: int = MODIFIED_NS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, ns=(modified_ns, modified_ns))
    return path


def written(result: IndexResult) -> tuple[int, int, int]:
    return result.added, result.changed, result.removed


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def has_met_a_lock(settings: Settings) -> bool:
    """Whether somebody waits for a lock, or has given up on one."""
    activity = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND (wait_event_type = 'Lock' OR query = 'ROLLBACK')"
    )
    return bool(fetch(settings, activity))


async def until_threads_ended() -> None:
    await until(lambda: not any(t.name.startswith("index") for t in threading.enumerate()))


# What a row says


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


async def test_rows_bear_the_time_of_indexing_in_utc(index, settings, mount):
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


async def test_a_trailing_slash_and_doubled_slashes_mean_nothing(index, settings, mount):
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
async def test_names_survive_literally(index, settings, mount, name):
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
async def test_odd_times_of_modification_do_no_harm(settings, mount, ns, stored):
    listing = Listing(str(mount), [("a", "f", 1, ns, 0o644)], 0, [], [])
    for added in (1, 0):
        assert apply_listings(settings, mount, listing) == Changes(added, 0, 0)
    assert read_rows(settings)[f"{mount}/a"].modified_at.isoformat() == stored


def apply_listings(settings: Settings, mount: Path, *listings: Listing) -> Changes:
    """Write listings that no filesystem here would give."""
    with connect(settings) as cursor:
        table = IndexTable(cursor.connection, str(mount), lambda _seconds: None)
        table.load()
        for listing in listings:
            table.add(listing)
        return table.apply(found_nothing=False, allow_empty=False)


# Following what changes


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
        scan = Scan(str(mount), str(mount), 2)
        scan.start()
        listings = list(scan.listings())
        for listing in listings:
            table.add(listing)
        assert len(listings) == 9
        assert not table._digests
        assert not table._seen.used


@pytest.mark.parametrize("change", [{"content": "longer"}, {"modified_ns": MODIFIED_NS + 10**7}])
async def test_a_changed_file_is_no_longer_cached(index, settings, mount, change):
    changed, same = write(mount / "changed"), write(mount / "same")
    await index()
    mark_cached(settings)

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
    mark_cached(settings)
    file.chmod(0o600)
    assert written(await index()) == (0, 1, 0)
    row = read_rows(settings)[str(file)]
    assert (row.permissions, row.cached, str(row.cache_job_id)) == (0o600, True, JOB)


@pytest.mark.parametrize("stored", ["22:13:20.123", "22:13:20.124"])
async def test_times_that_others_truncated_or_rounded_count_as_the_same(
    index, settings, mount, stored
):
    file = write(mount / "a", modified_ns=1_700_000_000_123_600_000)
    await index()
    mark_cached(settings)
    time = f"2023-11-14 {stored}"
    fetch(settings, "UPDATE files SET modified_at = %s WHERE path = %s", time, str(file))
    assert written(await index()) == (0, 0, 0)
    assert read_rows(settings)[str(file)].cached


async def test_what_vanished_is_removed(index, settings, mount):
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


async def test_a_file_may_become_a_folder_and_a_file_again(index, settings, mount):
    write(mount / "keep")
    write(mount / "a")
    await index()
    mark_cached(settings)

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


async def test_only_the_named_folder_is_touched(index, settings, mount):
    for folder in ("a_b", "axb", "a_b0", "a_b.d", "a_b-", "a_"):
        write(mount / folder / "file")
    await index()
    everything = paths_below(settings, mount)
    for folder in ("a_b", "axb", "a_b0", "a_b.d", "a_b-", "a_"):
        (mount / folder / "file").unlink()
        write(mount / folder / "other")
    await index(mount / "a_b")
    assert paths_below(settings, mount) == everything - {"a_b/file"} | {"a_b/other"}


async def test_a_crowded_folder_is_indexed_in_parts(index, settings, mount, monkeypatch):
    monkeypatch.setattr(index_scan, "LISTING_ENTRIES", 10)
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


async def test_rows_that_others_left_in_disorder_are_put_right(index, settings, mount):
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


async def test_a_large_load_tells_the_planner(index, settings, mount, monkeypatch):
    monkeypatch.setattr(index_table, "ANALYZE_FROM_ROWS", 5)
    for number in range(5):
        write(mount / str(number))
    await index()
    (row,) = fetch(settings, "SELECT reltuples FROM pg_class WHERE oid = 'files'::regclass")
    assert row.reltuples == 6


# What is left out


async def test_a_link_to_a_file_inside_the_filespace_is_that_file(index, settings, mount):
    target = write(mount / "target", "12345")
    (mount / "folder").mkdir()
    (mount / "folder" / "link").symlink_to("../target")
    result = await index()
    rows = read_rows(settings)
    link = rows[f"{mount}/folder/link"]
    assert (link.is_directory, link.size) == (False, 5)
    assert link.modified_at == rows[str(target)].modified_at
    assert result.problem_count == 0
    assert written(await index()) == (0, 0, 0)


async def test_links_to_folders_are_neither_followed_nor_indexed(index, settings, mount):
    write(mount / "folder" / "file")
    (mount / "folder" / "loop").symlink_to(mount)
    (mount / "shortcut").symlink_to("folder")
    (mount / "self").symlink_to(".")
    result = await index()
    assert paths_below(settings, mount) == {"folder", "folder/file"}
    assert result.problem_count == 0


async def test_links_out_of_the_filespace_or_to_nowhere_are_reported(
    index, settings, mount, tmp_path
):
    write(tmp_path / "outside")
    write(tmp_path / "filespace-2" / "neighbour")
    (mount / "out").symlink_to(tmp_path / "outside")
    (mount / "near").symlink_to("../filespace-2/neighbour")
    (mount / "dangling").symlink_to("nothing")
    (mount / "circle").symlink_to("circle")
    write(mount / "a")
    result = await index()
    assert paths_below(settings, mount) == {"a"}
    assert {(Path(p.path).name, p.reason) for p in result.problems} == {
        ("out", "the link leads out of the filespace"),
        ("near", "the link leads out of the filespace"),
        ("dangling", "the link leads nowhere"),
        ("circle", "the link leads nowhere"),
    }


async def test_a_mount_point_that_is_a_link_works(settings, mount, tmp_path):
    write(mount / "a")
    (mount / "b").symlink_to("a")
    link = tmp_path / "link"
    link.symlink_to(mount)
    settings = settings.model_copy(update={"container_mount_point": str(link)})
    result = await Indexer(settings).index(str(link))
    assert set(read_rows(settings)) == {str(link), f"{link}/a", f"{link}/b"}
    assert result.problem_count == 0


async def test_pipes_sockets_and_devices_are_passed_over(index, settings, mount):
    os.mkfifo(mount / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        with contextmanager_chdir(mount):
            server.bind("socket")
        write(mount / "a")
        result = await index()
    assert paths_below(settings, mount) == {"a"}
    assert (result.files, result.problem_count) == (1, 0)


@contextmanager
def contextmanager_chdir(folder: Path) -> Iterator[None]:
    """The address of a socket is limited to some 100 bytes; the folder's path may be longer."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


async def test_names_that_are_not_utf8_are_reported_and_skipped(index, settings, mount):
    write(mount / "a")
    raw = os.fsencode(mount)
    (Path(os.fsdecode(raw + b"/caf\xe9.mov"))).write_text("x")
    write(Path(os.fsdecode(raw + b"/folder\n\xff")) / "inside")
    result = await index()
    assert paths_below(settings, mount) == {"a"}
    assert {(p.path, p.reason) for p in result.problems} == {
        (f"{mount}/caf\\xe9.mov", "the name is not UTF-8"),
        (f"{mount}/folder\\n\\xff", "the name is not UTF-8"),
    }


async def test_a_path_too_long_for_the_database_is_reported_and_skipped(index, settings, mount):
    write(mount / "a")
    deep = mount
    for number in range(11):
        deep /= f"{number:02d}" * 125
    write(deep / "inside")
    result = await index()
    assert "a" in paths_below(settings, mount)
    assert [p.reason for p in result.problems] == ["the path is too long"]
    assert max(len(path) for path in read_rows(settings)) > 2_000


async def test_only_the_first_hundred_problems_are_kept(index, mount):
    for number in range(130):
        (mount / str(number)).symlink_to("nothing")
    write(mount / "a")
    result = await index()
    assert (len(result.problems), result.problem_count) == (100, 130)


@contextmanager
def without_superpowers() -> Iterator[None]:
    """Take from this thread root's right to read everything (Linux)."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    granted, reduced = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    if not hasattr(libc, "capget") or libc.capget(header, granted):
        pytest.skip("root can read everything here")
    reduced[:] = granted[:]
    reduced[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, reduced) == 0
    try:
        yield
    finally:
        assert libc.capset(header, granted) == 0


@pytest.fixture
def powerless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the filespace as somebody who is not root."""

    def strip(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            with without_superpowers():
                return function(*arguments)

        return run

    monkeypatch.setattr(Scan, "_work", strip(Scan._work))
    monkeypatch.setattr(indexer, "_read_root", strip(indexer._read_root))


async def test_rows_below_an_unreadable_folder_stay(index, settings, mount, powerless):
    write(mount / "locked" / "deep" / "a")
    write(mount / "locked-not" / "b")
    write(mount / "c")
    await index()
    before = read_rows(settings)
    shutil.rmtree(mount / "locked" / "deep")
    shutil.rmtree(mount / "locked-not")
    (mount / "locked").chmod(0)
    try:
        result = await index()
    finally:
        (mount / "locked").chmod(0o755)

    assert paths_below(settings, mount) == {"locked", "locked/deep", "locked/deep/a", "c"}
    for name in ("locked/deep", "locked/deep/a"):
        assert read_rows(settings)[f"{mount}/{name}"] == before[f"{mount}/{name}"]
    assert [(p.path, p.reason) for p in result.problems] == [
        (f"{mount}/locked", "Permission denied")
    ]
    await index()
    assert paths_below(settings, mount) == {"locked", "c"}


async def test_files_of_a_folder_that_may_only_be_listed_stay(index, settings, mount, powerless):
    write(mount / "folder" / "a")
    await index()
    (mount / "folder").chmod(0o444)
    try:
        result = await index()
    finally:
        (mount / "folder").chmod(0o755)
    assert paths_below(settings, mount) == {"folder", "folder/a"}
    assert [p.path for p in result.problems] == [f"{mount}/folder/a"]


async def test_an_unreadable_filespace_is_refused(index, settings, mount, powerless):
    write(mount / "a")
    await index()
    mount.chmod(0)
    try:
        with pytest.raises(IndexRefused, match="Permission denied"):
            await index(allow_empty=True)
    finally:
        mount.chmod(0o755)
    assert paths_below(settings, mount) == {"a"}


async def test_a_folder_that_vanishes_during_the_scan_is_reported(
    index, settings, mount, monkeypatch
):
    write(mount / "folder" / "a")
    write(mount / "b")
    await index()
    scandir = os.scandir

    def remove_then_scan(path: str) -> Any:
        if path == f"{mount}/folder":
            shutil.move(path, mount.parent / "away")
        return scandir(path)

    monkeypatch.setattr(index_scan.os, "scandir", remove_then_scan)
    result = await index()
    assert [p.path for p in result.problems] == [f"{mount}/folder"]
    assert paths_below(settings, mount) == {"folder", "folder/a", "b"}
    monkeypatch.undo()
    await index()
    assert paths_below(settings, mount) == {"b"}


# What is refused


@pytest.mark.parametrize("directory", ["/", "", ".", "relative", "{mount}/..", "{mount}-2", "/tmp"])
async def test_a_folder_outside_the_filespace_is_refused(index, mount, directory):
    with pytest.raises(IndexRefused, match="neither the filespace"):
        await index(directory.format(mount=mount))


@pytest.mark.parametrize("name", ["nul\0", "caf\udce9"])
async def test_a_folder_with_an_impossible_name_is_refused(index, mount, name):
    with pytest.raises(IndexRefused) as caught:
        await index(f"{mount}/{name}")
    assert caught.value.message.isprintable()


async def test_a_folder_that_a_link_leads_out_of_the_filespace_is_refused(index, mount, tmp_path):
    (mount / "out").symlink_to(tmp_path)
    with pytest.raises(IndexRefused, match="leads out"):
        await index(mount / "out")


async def test_a_missing_folder_is_refused_even_with_allow_empty(index, settings, mount):
    write(mount / "folder" / "a")
    await index()
    shutil.rmtree(mount / "folder")
    with pytest.raises(IndexRefused, match="does not exist"):
        await index(mount / "folder", allow_empty=True)
    assert paths_below(settings, mount) == {"folder", "folder/a"}


async def test_a_file_is_refused(index, mount):
    with pytest.raises(IndexRefused, match="is not a directory"):
        await index(write(mount / "a"))


async def test_an_empty_folder_does_not_empty_the_index(index, settings, mount):
    write(mount / "a" / "b")
    await index()
    before = read_rows(settings)
    shutil.rmtree(mount / "a")
    with pytest.raises(IndexRefused, match=r"^2 of the 2 .*--allow-empty$"):
        await index()
    assert read_rows(settings) == before

    assert (await index(allow_empty=True)).removed == 2
    assert paths_below(settings, mount) == set()


async def test_an_empty_folder_without_rows_is_no_accident(index, mount):
    assert written(await index()) == (1, 0, 0)
    assert written(await index()) == (0, 0, 0)


def insert_files(settings: Settings, folder: Path, count: int) -> None:
    fetch(
        settings,
        "INSERT INTO files (path, name, parent_path)"
        " SELECT %s || '/' || n, n, %s FROM generate_series(1, %s) AS n",
        str(folder), str(folder), count,
    )  # fmt: skip


async def test_losing_most_of_many_rows_is_refused(index, settings, mount):
    write(mount / "a")
    insert_files(settings, mount / "gone", 1_001)
    with pytest.raises(IndexRefused, match=r"1,001 of the 1,001 .*--allow-empty"):
        await index()
    assert len(paths_below(settings, mount)) == 1_001
    assert (await index(allow_empty=True)).removed == 1_001
    assert paths_below(settings, mount) == {"a"}


async def test_losing_a_thousand_rows_or_half_of_them_is_not(index, settings, mount):
    write(mount / "a")
    insert_files(settings, mount / "gone", 1_000)
    assert (await index()).removed == 1_000

    for number in range(1_200):
        (mount / f"{number}.exr").touch()
    await index()
    insert_files(settings, mount / "gone", 1_200)
    assert (await index()).removed == 1_200


async def test_a_database_that_is_away_says_so(settings, mount):
    settings = settings.model_copy(update={"db_port": 1})
    with pytest.raises(DatabaseUnavailable):
        await Indexer(settings).index(str(mount))


# Beside others


async def test_indexers_of_overlapping_folders_take_turns(index, settings, mount):
    for number in range(40):
        write(mount / f"{number % 4}" / f"{number}.mov")
    await asyncio.gather(index(), index(mount / "1"), index(), index(mount / "2"), index())
    assert len(paths_below(settings, mount)) == 44
    assert written(await index()) == (0, 0, 0)


@pytest.mark.parametrize("names", ["az", "za"])
async def test_an_indexer_and_a_worker_that_want_each_others_rows_do_not_deadlock(
    index, settings, mount, names
):
    first, last = (write(mount / name) for name in names)
    await index()
    write(first, "changed")
    write(last, "changed")
    cache = "UPDATE files SET cached = true WHERE path = %s"
    with connect(settings) as worker:
        worker.execute(cache, (str(last),))
        task = asyncio.create_task(index())
        await until(lambda: has_met_a_lock(settings))
        worker.execute("SET lock_timeout = '20s'")
        worker.execute(cache, (str(first),))
        assert not task.done()
        worker.connection.commit()
        result = await task
    assert result.changed in (2, 3)
    rows = read_rows(settings)
    assert {rows[str(p)].size for p in (first, last)} == {7}
    assert not any(rows[str(p)].cached for p in (first, last))


async def test_another_programs_rows_for_the_same_files_are_no_conflict(index, settings, mount):
    write(mount / "a")
    with connect(settings) as other:
        insert = "INSERT INTO files (path, name, parent_path) VALUES (%s, 'a', %s)"
        other.execute(insert, (f"{mount}/a", str(mount)))
        task = asyncio.create_task(index())
        await until(lambda: has_met_a_lock(settings))
        other.connection.commit()
        await task
    await index()
    assert read_rows(settings)[f"{mount}/a"].size == 1


async def test_a_run_cancelled_while_writing_changes_nothing(index, settings, mount):
    write(mount / "a")
    write(mount / "b")
    await index()
    before = read_rows(settings)
    write(mount / "a", "changed")
    write(mount / "c")
    (mount / "b").unlink()
    with connect(settings) as other:
        other.execute("SELECT FROM files WHERE path = %s FOR UPDATE", (f"{mount}/a",))
        task = asyncio.create_task(index())
        await until(lambda: has_met_a_lock(settings))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_threads_ended()
    assert read_rows(settings) == before


async def test_a_run_cancelled_while_a_folder_hangs_ends_at_once(
    index, settings, mount, monkeypatch
):
    write(mount / "folder" / "a")
    hangs, goes_on = threading.Event(), threading.Event()
    scandir = os.scandir

    def hang(path: str) -> Any:
        if path == f"{mount}/folder":
            hangs.set()
            goes_on.wait()
        return scandir(path)

    monkeypatch.setattr(index_scan.os, "scandir", hang)
    task = asyncio.create_task(index())
    await until(hangs.is_set)
    threads = [t for t in threading.enumerate() if t.name.startswith("index")]
    assert len(threads) > 1 and all(thread.daemon for thread in threads)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert read_rows(settings) == {}
    # The next run does not wait for the folder either.
    write(mount / "other" / "b")
    assert (await index(mount / "other")).added == 2
    goes_on.set()
    await until_threads_ended()
    assert paths_below(settings, mount) == {"other", "other/b"}


async def test_a_fault_in_a_scanning_thread_ends_the_run(index, settings, mount, monkeypatch):
    write(mount / "folder" / "a")
    scandir = os.scandir

    def fail(path: str) -> Any:
        if path == f"{mount}/folder":
            raise MemoryError
        return scandir(path)

    monkeypatch.setattr(index_scan.os, "scandir", fail)
    with pytest.raises(MemoryError):
        await index()
    assert read_rows(settings) == {}


async def test_progress_counts_what_was_seen(index, mount):
    for number in range(10):
        write(mount / "folder" / str(number))
    progress = IndexProgress()
    assert (progress.entries, progress.phase) == (0, "waiting")
    await index(progress=progress)
    assert (progress.entries, progress.phase) == (12, "done")
