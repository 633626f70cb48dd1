"""POST /api/v1/paths/resolve: what paths mean, without creating anything."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.settings import Settings
from gateway.settings.filespace_settings import FilespaceSettings
from support.database import StartApi, change
from support.index_rows import add_files, count_rows, run
from support.path_requests import REFUSED, RESOLVE, resolve

JOBS = "/api/v1/cache/jobs"
MOUNT = "/media/lucidlink-1"
TREE = {"00_Média/Shot.mov": 70, "01_VFX/a.exr": 5, "Twins/x": 1, "twins/X": 2}
ANSWER = {"filespace": "lucidlink-1", "rule": "relative", "size": None, "error": None}


@pytest.fixture
async def api(start_api: StartApi, database_settings: Settings) -> Any:
    add_files(database_settings, TREE)
    return await start_api()


async def test_a_file_of_the_index_is_told_in_full(api: Any) -> None:
    [answer] = await resolve(api, "01_VFX/a.exr")
    assert answer == {
        "path": "01_VFX/a.exr",
        "resolved": "01_VFX/a.exr",
        "sendable": "01_VFX/a.exr",
        "filespace": "lucidlink-1",
        "rule": "relative",
        "indexed": True,
        "type": "file",
        "size": 5,
        "error": None,
    }


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("01_VFX", {"resolved": "01_VFX", "type": "directory"}),
        (MOUNT, {"resolved": "", "sendable": MOUNT, "type": "directory", "rule": "mount-point"}),
        (
            "C:\\dmpfs\\tc-east-1\\00_média\\SHOT.MOV",
            {"resolved": "00_Média/Shot.mov", "type": "file", "size": 70, "rule": "known-root"},
        ),
        (
            unicodedata.normalize("NFD", "/Volumes/dmpfs/tc-east-1/00_Média"),
            {"resolved": "00_Média", "type": "directory", "rule": "known-root"},
        ),
    ],
)
async def test_what_is_indexed_is_told_as_the_index_spells_it(
    api: Any, typed: str, expected: dict[str, Any]
) -> None:
    [answer] = await resolve(api, typed)
    sendable = {"sendable": expected["resolved"]}
    assert answer == {"path": typed, "indexed": True} | ANSWER | sendable | expected


async def test_a_directory_without_a_row_is_known_by_what_is_inside(
    api: Any, database_settings: Settings
) -> None:
    run(database_settings, "DELETE FROM files WHERE is_directory")
    [answer] = await resolve(api, "01_VFX")
    assert (
        answer
        == {
            "path": "01_VFX",
            "resolved": "01_VFX",
            "sendable": "01_VFX",
            "indexed": True,
            "type": "directory",
        }
        | ANSWER
    )


async def test_what_is_refused_stands_in_its_place_with_the_reason(
    api: Any, database_settings: Settings
) -> None:
    answers = await resolve(api, "01_VFX", "~/a", "twins/x", "", "01_VFX")
    assert [it["resolved"] for it in answers] == ["01_VFX", None, None, None, "01_VFX"]
    assert answers[1] == {"path": "~/a", **REFUSED, "error": answers[1]["error"]}
    assert answers[1]["error"].startswith("~ is a home folder")
    assert answers[2] == REFUSED | {
        "path": "twins/x",
        "filespace": "lucidlink-1",
        "rule": "relative",
        "error": "it matches several files that differ only in case or Unicode form:"
        " 'Twins/x', 'twins/X'",
    }
    assert answers[3]["error"] == "it is empty"
    assert count_rows(database_settings) == (0, 0)


async def test_what_is_not_indexed_is_looked_for_on_the_mount(
    start_api: StartApi, database_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "New").mkdir()
    (tmp_path / "New" / "a.mov").write_bytes(b"x" * 9)
    index = change(database_settings, {"container_mount_point": str(tmp_path)})
    add_files(index, {"new/A.mov": 1})
    api = await start_api(container_mount_point=str(tmp_path))
    answers = await resolve(api, "New", "New/a.mov", "new/a.mov", "none")
    assert [(it["resolved"], it["indexed"], it["type"], it["size"]) for it in answers] == [
        ("New", False, "directory", None),
        ("New/a.mov", False, "file", 9),
        ("new/A.mov", True, "file", 1),
        ("none", False, None, None),
    ]
    assert {it["error"] for it in answers} == {None}


async def test_paths_outside_of_the_allowed_ones_are_refused(
    start_api: StartApi, database_settings: Settings
) -> None:
    add_files(database_settings, TREE)
    api = await start_api(allowed_paths=("01_VFX", "00_média"))
    answers = await resolve(api, "Twins/x", "00_média/shot.mov", "01_VFX/a.exr")
    refusal = "it is outside the paths that may be cached"
    assert [it["error"] for it in answers] == [refusal, refusal, None]
    assert [it["resolved"] for it in answers] == [None, None, "01_VFX/a.exr"]


async def test_a_path_of_several_filespaces_is_relative_to_its_own(
    start_api: StartApi, database_settings: Settings
) -> None:
    listed = [
        FilespaceSettings(name=name, mount_point=f"/media/{name}", client_roots=(f"{drive}:",))
        for name, drive in (("east", "E"), ("west", "W"))
    ]
    add_files(change(database_settings, {"container_mount_point": "/media/west"}), ["B/c.mov"])
    api = await start_api(filespaces=tuple(listed))
    answers = await resolve(api, "west/b/c.mov", "W:\\b", "east/b/c.mov", "b/c.mov")
    assert [(it["filespace"], it["resolved"], it["indexed"]) for it in answers] == [
        ("west", "B/c.mov", True),
        ("west", "B", True),
        ("east", "b/c.mov", False),
        (None, None, False),
    ]
    response = await api.post(JOBS, json={"files": ["west/b/C.mov"]})
    job = await response.json()
    assert job["matched"] == [{"path": "west/b/C.mov", "resolved": "west/B/c.mov"}]


async def test_an_empty_list_has_an_empty_answer(api: Any) -> None:
    assert await resolve(api) == []


async def test_ten_thousand_paths_are_answered_and_one_more_is_too_many(api: Any) -> None:
    paths = [f"01_vfx/{number}" for number in range(9_999)]
    assert len(await resolve(api, *paths, "01_vfx/A.exr")) == 10_000
    response = await api.post(RESOLVE, json={"paths": [*paths, "a", "b"]})
    assert response.status == 413
    assert (await response.json())["error"] == "At most 10,000 paths may be listed in a request"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\x00\xff",
        b'{"paths": null}',
        b'{"paths": "a"}',
        b'{"paths": {"a": 1}}',
        b'{"paths": [1]}',
        b'{"paths": [["a"]]}',
        b'{"paths": ["a", null]}',
        b'{"paths": ["\\ud800"]}',
        b'{"paths": ["\xff"]}',
        b'{"paths": ["a"], "more": 1}',
        b'{"paths": ' + b"[" * 10_000,
    ],
)
async def test_a_body_that_is_no_list_of_paths_is_refused(api: Any, body: bytes) -> None:
    response = await api.post(RESOLVE, data=body, headers={"Content-Type": "application/json"})
    assert response.status == 400
    assert (await response.json())["success"] is False


@pytest.mark.usefixtures("still_clock")
async def test_the_key_is_wanted_and_the_reads_are_counted(start_api: StartApi) -> None:
    api = await start_api(poll_limit_per_minute=1)
    response = await api.post(RESOLVE, json={"paths": []}, headers={"X-API-Key": "wrong"})
    assert response.status == 401
    assert (await api.post(RESOLVE, json={"paths": []})).status == 200
    assert (await api.post(RESOLVE, json={"paths": []})).status == 429


async def test_before_the_database_is_prepared_it_answers_503(
    aiohttp_client: Any, empty_database: Settings
) -> None:
    settings = change(empty_database, {"db_port": 1, "poll_limit_per_minute": 0})
    headers = {"X-API-Key": settings.api_gateway_key.get_secret_value()}
    api = await aiohttp_client(create_app(settings), headers=headers)
    assert (await api.post(RESOLVE, json={"paths": ["a"]})).status == 503


def byte_strings(seed: int) -> Iterator[bytes]:
    """Random bytes, some of them with what paths are made of, endless."""
    source = random.Random(seed)
    pieces = [b"/", b"\\", b"..", b".", b"C:", b"file:", b"%", b"~", MOUNT.encode(), b"tc-1", b"\0"]
    while True:
        whole = source.randbytes(source.randrange(40))
        if source.random() < 0.5:
            whole += b"/".join(source.choices(pieces, k=3)) + source.randbytes(5)
        yield whole


def as_text(whole: bytes, number: int) -> str:
    """Every byte a letter, or what of it is UTF-8."""
    return whole.decode("latin-1") if number % 2 else whole.decode("utf-8", "replace")


async def test_a_hundred_thousand_random_byte_strings_never_break_the_api(
    api: Any, database_settings: Settings
) -> None:
    strings = byte_strings(20261124)
    for number in range(9):
        paths = [as_text(it, number) for it in islice(strings, 10_000)]
        await resolve(api, *paths)
        response = await api.post(JOBS, json={"files": paths[:500], "directories": paths[500:]})
        assert response.status == 400
    for number, whole in enumerate(islice(strings, 1_000)):
        # One by one, so that some are good enough for a job.
        response = await api.post(JOBS, json={"files": [as_text(whole, number)]})
        assert response.status in (201, 400)
    for chunk in (list(islice(strings, 90)) for _ in range(100)):
        raw = b'{"paths": ["' + b'","'.join(chunk) + b'"]}'
        response = await api.post(RESOLVE, data=raw, headers={"Content-Type": "application/json"})
        assert response.status in (200, 400)
    jobs, items = count_rows(database_settings)
    assert jobs == items > 0
    assert (await api.get("/api/v1/health")).status == 200
