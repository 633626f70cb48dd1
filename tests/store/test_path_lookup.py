"""Names in another case or Unicode form: which file matches, and what is ambiguous."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from gateway.database import Database
from gateway.index.path_lookup import PathLookup
from gateway.mount.mount import Mount
from gateway.mount.path_status import PathKind
from gateway.paths import Filespaces
from gateway.settings import Settings
from support.database import StartApi
from support.index_rows import add_files, add_folder, count_rows, job_rows, run

JOBS = "/api/v1/cache/jobs"
MOUNT = "/media/lucidlink-1"
AMBIGUOUS = "it matches several files that differ only in case or Unicode form"
HANGUL = "촬영/한글.mov"


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def apart(text: str) -> str:
    return unicodedata.normalize("NFD", text)


async def post(api: Any, status: int, **body: Any) -> dict[str, Any]:
    response = await api.post(JOBS, json=body)
    answer: dict[str, Any] = await response.json()
    assert response.status == status, answer
    return answer


def paths(settings: Settings, job: dict[str, Any]) -> list[str]:
    return [row.path for row in job_rows(settings, job["jobId"])]


@pytest.mark.parametrize(
    ("indexed", "typed"),
    [
        (composed("Größe/Übersicht.mov"), apart("Größe/Übersicht.mov")),
        (apart("Größe/Übersicht.mov"), composed("Größe/Übersicht.mov")),
        (composed("Größe/") + apart("Übersicht.mov"), apart("Größe/") + composed("Übersicht.mov")),
        (composed(HANGUL), apart(HANGUL)),
        (apart(HANGUL), composed(HANGUL)),
        (composed("Съёмка/Йод.mov"), apart("Съёмка/Йод.mov")),
        ("が.mov", apart("が.mov")),
        ("Å.mov", "\u212b.mov"),
        ("00_Media/Shot.MOV", "00_media/shot.mov"),
        ("00_media/shot.mov", "00_MEDIA/SHOT.MOV"),
        ("Élan.mov", "élan.mov"),
        ("élan.mov", apart("ÉLAN.MOV")),
        ("ΟΔΟΣ.mov", "οδος.mov"),
        ("Проект/Ёлка.mov", "проект/ёлка.MOV"),
        ("Łódź Ň.mov", "łÓDŹ ň.mov"),
        ("50%_done_%s.mov", "50%_DONE_%S.mov"),
        ("a_b\\c'd\"e.mov", "A_B\\C'D\"E.mov"),
        ("shot 001 [a]*.mov", "Shot 001 [A]*.mov"),
    ],
)
async def test_a_file_is_found_in_another_case_or_unicode_form(
    api: Any, database_settings: Settings, indexed: str, typed: str
) -> None:
    add_files(database_settings, {indexed: 77})
    job = await post(api, 201, files=[f"{MOUNT}/{typed}"])
    assert paths(database_settings, job) == [indexed]
    assert job["matched"] == [{"path": f"{MOUNT}/{typed}", "resolved": indexed}]
    assert (job["unindexed"], job["totalSize"]["bytes"]) == ([], 77)


@pytest.mark.parametrize(
    ("indexed", "typed"),
    [
        ("ISTANBUL.mov", "ıstanbul.mov"),
        ("İzmir.mov", "izmir.mov"),
        ("ılık.mov", "ILIK.mov"),
        ("straße.mov", "strasse.mov"),
        ("STRASSE.mov", "straße.mov"),
        ("straße.mov", "STRAẞE.mov"),
        ("a_b.mov", "aXb.mov"),
        ("50%.mov", "50x.mov"),
        ("fi.mov", "\ufb01.mov"),
        ("e.mov", "é.mov"),
    ],
)
async def test_different_letters_are_different_names(
    api: Any, database_settings: Settings, indexed: str, typed: str
) -> None:
    add_files(database_settings, [indexed])
    job = await post(api, 201, files=[f"{MOUNT}/{typed}"])
    assert (job["unindexed"], job["matched"]) == ([f"{MOUNT}/{typed}"], [])


@pytest.mark.parametrize("typed", ["Größe.mov", apart("Größe.mov")])
async def test_the_exact_spelling_wins(api: Any, database_settings: Settings, typed: str) -> None:
    add_files(database_settings, ["Größe.mov", apart("Größe.mov"), "größe.mov", "GRÖßE.MOV"])
    job = await post(api, 201, files=[typed])
    assert paths(database_settings, job) == [typed]
    assert job["matched"] == []


async def test_a_name_in_another_unicode_form_wins_over_one_in_another_case(
    api: Any, database_settings: Settings
) -> None:
    add_files(database_settings, ["Größe.mov", "größe.mov"])
    job = await post(api, 201, files=[apart("Größe.mov")])
    assert job["matched"] == [{"path": apart("Größe.mov"), "resolved": "Größe.mov"}]


async def test_several_similar_files_are_refused(api: Any, database_settings: Settings) -> None:
    shots = ["Shot.mov", "SHOT.mov", "shot.MOV", "sHot.mov", "shOt.mov", "shoT.mov"]
    add_files(database_settings, [*shots, "a.mov"])
    answer = await post(api, 400, files=["a.mov", "./shot.mov"])
    assert answer["error"] == f"Cannot use the path './shot.mov': {AMBIGUOUS}"
    [detail] = answer["details"]
    assert detail.pop("candidates") == sorted(shots)[:5]
    assert detail == {"path": "./shot.mov", "error": AMBIGUOUS}
    assert count_rows(database_settings) == (0, 0)


async def test_every_ambiguous_name_is_reported(api: Any, database_settings: Settings) -> None:
    add_files(database_settings, ["A/x.mov", "a/x.mov", "B.mov", "b.MOV"])
    answer = await post(api, 400, files=["b.mov"], directories=[MOUNT, "./A/X.MOV"])
    assert answer["error"].endswith(f"{AMBIGUOUS} (and 1 more)")
    assert [it["path"] for it in answer["details"]] == ["b.mov", "./A/X.MOV"]
    assert answer["details"][1]["candidates"] == ["A/x.mov", "a/x.mov"]


async def test_directories_are_found_and_refused_the_same_way(
    api: Any, database_settings: Settings
) -> None:
    add_files(database_settings, ["00_Média/Reel/a.mov", "X/a.mov", "x/a.mov"])
    typed = apart("00_MÉDIA/reel")
    for recursive in (True, False):
        job = await post(api, 201, directories=[typed], recursive=recursive)
        assert paths(database_settings, job) == ["00_Média/Reel/a.mov"]
        assert job["matched"] == [{"path": typed, "resolved": "00_Média/Reel"}]
    (row,) = run(database_settings, "SELECT directory_paths AS listed FROM cache_jobs LIMIT 1")
    assert row.listed == [f"{MOUNT}/00_Média/Reel"]
    job = await post(api, 201, directories=["X"])
    assert paths(database_settings, job) == ["X/a.mov"]
    add_files(database_settings, ["Yy/a.mov", "yY/a.mov"])
    answer = await post(api, 400, directories=["yy"])
    assert answer["details"] == [
        {
            "path": "yy",
            "error": AMBIGUOUS.replace("files", "directories"),
            "candidates": ["Yy", "yY"],
        }
    ]


async def test_a_similar_file_and_directory_are_each_found_by_kind(
    api: Any, database_settings: Settings
) -> None:
    add_files(database_settings, ["Take", "TAKE/a.mov"])
    job = await post(api, 201, files=["take"])
    assert paths(database_settings, job) == ["Take"]
    job = await post(api, 201, directories=["take"])
    assert paths(database_settings, job) == ["TAKE/a.mov"]


async def test_a_similar_path_of_the_other_kind_is_refused(
    api: Any, database_settings: Settings
) -> None:
    add_files(database_settings, ["Take/A.mov"])
    answer = await post(api, 400, files=["take"])
    assert answer["error"] == "Listed under files, but a directory: 'take'"
    answer = await post(api, 400, directories=["take/a.mov"])
    assert answer["error"] == "Listed under directories, but a file: 'take/a.mov'"
    assert count_rows(database_settings) == (0, 0)


async def test_a_directory_in_another_case_without_files_is_refused_as_it_was_typed(
    api: Any, database_settings: Settings
) -> None:
    add_folder(database_settings, "Empty")
    answer = await post(api, 400, directories=["EMPTY"])
    assert answer["error"] == "No files found in 'EMPTY'"


async def test_a_file_named_in_several_spellings_counts_once(
    api: Any, database_settings: Settings
) -> None:
    add_files(database_settings, {"Réel/Shot.mov": 10, "Réel/b.mov": 1})
    spellings = ["Réel/Shot.mov", apart("Réel/Shot.mov"), "RÉEL/shot.mov"]
    job = await post(api, 201, files=spellings)
    assert (job["totalFiles"], job["totalSize"]["bytes"]) == (1, 10)
    assert job["matched"] == [
        {"path": typed, "resolved": "Réel/Shot.mov"} for typed in spellings[1:]
    ]
    job = await post(api, 201, files=spellings, directories=["réel", "Réel"])
    assert (job["totalFiles"], job["totalSize"]["bytes"]) == (2, 11)


async def test_a_new_file_on_the_mount_wins_over_one_in_another_case(
    start_api: StartApi, database_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "shot.mov").write_bytes(b"x" * 12)
    api = await start_api(container_mount_point=str(tmp_path))
    index = database_settings.model_copy(update={"container_mount_point": str(tmp_path)})
    add_files(index, {"Shot.mov": 5, "SHOT.mov": 6, "Other.mov": 7})
    job = await post(api, 201, files=["shot.mov", "other.mov"])
    assert (job["unindexed"], job["totalSize"]["bytes"]) == (["shot.mov"], 19)
    assert job["matched"] == [{"path": "other.mov", "resolved": "Other.mov"}]
    answer = await post(api, 400, files=["sHOT.mov"])
    assert AMBIGUOUS in answer["error"]


async def test_a_similar_path_outside_the_allowed_paths_is_refused(
    start_api: StartApi, database_settings: Settings
) -> None:
    add_files(database_settings, ["Secret/a.mov", "Secret/b.mov", "SECRET/B.mov", "open/C.mov"])
    api = await start_api(allowed_paths=("secret", "open"))
    answer = await post(api, 403, files=["secret/A.mov"])
    assert answer["details"] == [
        {"path": "secret/A.mov", "error": "it is outside the paths that may be cached"}
    ]
    # Disallowed paths are not revealed.
    answer = await post(api, 400, files=["secret/B.MOV"])
    assert answer["details"] == [{"path": "secret/B.MOV", "error": AMBIGUOUS}]
    assert count_rows(database_settings) == (0, 0)
    job = await post(api, 201, files=["open/c.mov"])
    assert paths(database_settings, job) == ["open/C.mov"]


async def test_a_similar_mount_point_is_not_found(api: Any, database_settings: Settings) -> None:
    other = database_settings.model_copy(update={"container_mount_point": "/media/LucidLink-1"})
    add_files(other, ["a.mov"])
    job = await post(api, 201, files=["a.mov"])
    assert (job["unindexed"], job["matched"]) == (["a.mov"], [])


async def test_ten_thousand_names_take_one_query(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{MOUNT}/Reel/Shot_{number}.mov" for number in range(10_000)]
    add_files(database_settings, [name.removeprefix(f"{MOUNT}/") for name in names])
    queries: list[str] = []
    fetch = Database.fetch

    async def counted(self: Database, query: str, parameters: Any = None) -> Any:
        queries.append(query)
        return await fetch(self, query, parameters)

    monkeypatch.setattr(Database, "fetch", counted)
    async with Database(database_settings) as database:
        lookup = PathLookup(database, Mount([MOUNT]), Filespaces.single(MOUNT))
        exact = await lookup.find(dict.fromkeys(names))
        alike = await lookup.find({f"{MOUNT}/{name[19:].lower()}": PathKind.FILE for name in names})
        nothing = await lookup.find({})
    assert len(queries) == 2
    assert [it.path for it in exact.entries.values()] == names
    assert [it.path for it in alike.entries.values()] == names
    assert (nothing.entries, nothing.problems) == ({}, {})


async def test_names_that_look_the_same_are_distinguished(
    api: Any, database_settings: Settings
) -> None:
    one, other = composed("both/é.mov"), apart("both/é.mov")
    add_files(database_settings, [one, other, "both/É.MOV"])
    for typed in ("BOTH/é.mov", "both/É.mov"):
        answer = await post(api, 400, files=[typed])
        [detail] = answer["details"]
        assert {one, other} <= set(detail["candidates"])
        assert f"'{one}' (composed)" in detail["error"]
        assert f"'{other}' (decomposed)" in detail["error"]
        response = await api.post("/api/v1/paths/resolve", json={"paths": [typed]})
        [explained] = (await response.json())["paths"]
        assert explained["error"] == detail["error"]
