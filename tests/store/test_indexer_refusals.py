"""Harmful runs are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.errors import DatabaseUnavailable, IndexRefused
from gateway.index.indexer import Indexer
from gateway.settings import Settings
from support.indexer_tools import fetch, paths_below, read_rows, write, written


@pytest.mark.parametrize("directory", ["/", "", ".", "relative", "{mount}/..", "{mount}-2", "/tmp"])
async def test_a_folder_outside_the_filespace_is_refused(index, mount, directory):
    with pytest.raises(IndexRefused, match="neither the filespace"):
        await index(directory.format(mount=mount))


@pytest.mark.parametrize("name", ["nul\0", "caf\udce9"])
async def test_a_folder_with_an_impossible_name_is_refused(index, mount, name):
    with pytest.raises(IndexRefused) as caught:
        await index(f"{mount}/{name}")
    assert caught.value.message.isprintable()


async def test_a_link_out_of_the_filespace_is_refused_as_folder(index, mount, tmp_path):
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


async def test_an_empty_folder_without_rows_is_accepted(index, mount):
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


async def test_losing_a_thousand_rows_or_half_of_them_is_accepted(index, settings, mount):
    write(mount / "a")
    insert_files(settings, mount / "gone", 1_000)
    assert (await index()).removed == 1_000

    for number in range(1_200):
        (mount / f"{number}.exr").touch()
    await index()
    insert_files(settings, mount / "gone", 1_200)
    assert (await index()).removed == 1_200


async def test_an_unavailable_database_is_reported(settings, mount):
    settings = settings.model_copy(update={"db_port": 1})
    with pytest.raises(DatabaseUnavailable):
        await Indexer(settings).index(str(mount))
