"""Creating cache jobs: what may be listed, what counts, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import Settings
from support.database import StartApi
from support.index_rows import add_files, add_folder, count_rows, job_rows, run
from support.submit_requests import JOBS, refuse

MOUNT = "/media/lucidlink-1"
FARM = "00_Media/Farm/ProRes422"
TREE = {
    "00_Media/video.mp4": 1_000,
    f"{FARM}/Farm00103.mov": 1_013_645_000,
    f"{FARM}/Farm00104.mov": 672,
    f"{FARM}/proxies/Farm00103.mp4": 10,
    "01_VFX/shot.exr": 5,
}
FARM_FILES = [name for name in TREE if name.startswith(FARM)]


@pytest.fixture
async def api(start_api: StartApi, database_settings: Settings) -> Any:
    add_files(database_settings, TREE)
    return await start_api()


async def submit(api: Any, **body: Any) -> dict[str, Any]:
    """Submit what must be accepted."""
    response = await api.post(JOBS, json=body)
    answer: dict[str, Any] = await response.json()
    assert response.status == 201, answer
    return answer


def paths(settings: Settings, job: dict[str, Any]) -> list[str]:
    return [row.path for row in job_rows(settings, job["jobId"])]


async def test_the_documents_first_example_answers_with_every_field(
    api: Any, database_settings: Settings
) -> None:
    response = await api.post(
        JOBS,
        data=json.dumps(
            {"files": [f"{FARM}/Farm00103.mov"], "directories": [FARM], "recursive": True}
        ),
        headers={"Content-Type": "application/json"},
    )
    job = await response.json()
    job_id, created_at = job.pop("jobId"), job.pop("createdAt")
    assert response.status == 201
    assert response.headers["Location"] == f"{JOBS}/{job_id}"
    assert created_at.endswith("Z")
    assert len(created_at) == len("2025-08-23T02:38:17.048Z")
    assert job == {
        "success": True,
        "status": "pending",
        "totalFiles": 3,
        "totalSize": {"bytes": 1_013_645_682, "readable": "966.69 MB"},
        "unindexed": [],
        "matched": [],
        "message": "Cache job created successfully",
    }


async def test_the_location_leads_to_the_job(api: Any) -> None:
    response = await api.post(JOBS, json={"files": ["00_Media/video.mp4"]})
    found = await (await api.get(response.headers["Location"])).json()
    assert found["job"]["id"] == (await response.json())["jobId"]


@pytest.mark.parametrize(
    "typed",
    [
        "00_Media/video.mp4",
        "/Volumes/dmpfs/tc-east-1/00_Media/video.mp4",
        "C:\\dmpfs\\tc-east-1\\00_Media\\video.mp4",
        "\\\\server\\dmpfs\\tc-east-1\\00_Media\\video.mp4",
        "/mnt/lucidlink/tc-east-1/00_Media/video.mp4",
        f"{MOUNT}/00_Media/video.mp4",
    ],
    ids=["relative", "macOS", "Windows", "Windows share", "Linux", "container"],
)
async def test_a_file_is_found_by_the_path_that_each_system_writes(
    api: Any, database_settings: Settings, typed: str
) -> None:
    job = await submit(api, files=[typed])
    assert paths(database_settings, job) == ["00_Media/video.mp4"]
    assert job["totalSize"] == {"bytes": 1000, "readable": "1000 B"}


@pytest.mark.parametrize(
    ("typed", "recursive", "expected"),
    [
        (FARM, True, FARM_FILES),
        (FARM, False, FARM_FILES[:2]),
        (f"/Volumes/dmpfs/tc-east-1/{FARM}", True, FARM_FILES),
        (f"{FARM}///", True, FARM_FILES),
        (f"{FARM}/", False, FARM_FILES[:2]),
        ("00_Media", False, ["00_Media/video.mp4"]),
        ("00_Media", True, ["00_Media/video.mp4", *FARM_FILES]),
    ],
)
async def test_a_directory_means_its_files_and_below_it_if_recursive(
    api: Any, database_settings: Settings, typed: str, recursive: bool, expected: list[str]
) -> None:
    job = await submit(api, directories=[typed], recursive=recursive)
    assert sorted(paths(database_settings, job)) == sorted(expected)
    assert job["totalFiles"] == len(expected)
    assert job["totalSize"]["bytes"] == sum(TREE[name] for name in expected)


async def test_recursive_is_the_default(api: Any) -> None:
    assert (await submit(api, directories=[FARM]))["totalFiles"] == 3


@pytest.mark.parametrize(
    "body",
    [
        {"files": [f"{FARM}/Farm00104.mov"] * 3},
        {"files": [f"{FARM}/Farm00104.mov", f"{MOUNT}/{FARM}/./Farm00104.mov/"]},
        {"files": [f"{FARM}/Farm00104.mov", f"C:\\x\\tc-1\\{FARM}\\Farm00104.mov"]},
    ],
)
async def test_a_file_named_twice_counts_once(api: Any, body: dict[str, Any]) -> None:
    job = await submit(api, **body)
    assert (job["totalFiles"], job["totalSize"]["bytes"]) == (1, 672)


@pytest.mark.parametrize(
    ("body", "files"),
    [
        ({"directories": [FARM, f"{FARM}/"]}, 3),
        ({"directories": [FARM, f"{FARM}/proxies"]}, 3),
        ({"directories": [f"{FARM}/proxies", "00_Media", FARM]}, 4),
        ({"directories": [FARM, f"{FARM}/proxies"], "recursive": False}, 3),
        ({"directories": [FARM], "files": FARM_FILES}, 3),
        ({"directories": [FARM], "files": FARM_FILES, "recursive": False}, 3),
        ({"directories": ["01_VFX"], "files": FARM_FILES}, 4),
        ({"directories": [MOUNT, "00_Media"], "files": list(TREE)}, 5),
    ],
)
async def test_a_file_inside_listed_directories_counts_once(
    api: Any, database_settings: Settings, body: dict[str, Any], files: int
) -> None:
    job = await submit(api, **body)
    found = paths(database_settings, job)
    assert len(found) == len(set(found)) == job["totalFiles"] == files
    assert job["totalSize"]["bytes"] == sum(TREE[name] for name in found)


async def test_an_unindexed_file_inside_a_listed_directory_is_added_to_it(
    api: Any, database_settings: Settings
) -> None:
    job = await submit(api, directories=[FARM], files=[f"{FARM}/new.mov", FARM_FILES[0]])
    assert job["unindexed"] == [f"{FARM}/new.mov"]
    assert sorted(paths(database_settings, job)) == sorted([*FARM_FILES, f"{FARM}/new.mov"])


@pytest.mark.parametrize(
    ("directory", "siblings"),
    [
        ("a_b", ["aXb", "a__b", "ab", "a_bc"]),
        ("50%", ["50x", "50", "50%%", "50%x"]),
        ("%", ["x", "%%"]),
        ("_", ["x", "__"]),
        ("[ab]*", ["a", "[ab]x"]),
        ('it\'s "quoted"', ["its quoted"]),
        ("back\\slash", ["backslash"]),
        ("東京 %(s)s", ["東京"]),
        ("A", ["a"]),
    ],
)
async def test_names_are_literal(
    api: Any, database_settings: Settings, directory: str, siblings: list[str]
) -> None:
    wanted = f"{directory}/x.mov"
    add_files(database_settings, [wanted, *(f"{sibling}/x.mov" for sibling in siblings)])
    for recursive in (True, False):
        job = await submit(api, directories=[f"{MOUNT}/{directory}"], recursive=recursive)
        assert paths(database_settings, job) == [wanted]


async def test_an_unindexed_file_is_sized_by_a_stat_where_the_mount_is_visible(
    start_api: StartApi, database_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "new.mov").write_bytes(b"x" * 1234)
    api = await start_api(container_mount_point=str(tmp_path))
    job = await submit(api, files=["new.mov", "missing.mov"])
    assert job["unindexed"] == ["new.mov", "missing.mov"]
    assert job["totalSize"]["bytes"] == 1234
    rows = run(
        database_settings, "SELECT file_size_bytes AS size FROM cache_job_items ORDER BY size"
    )
    assert [row.size for row in rows] == [0, 1234]


async def test_an_unindexed_file_has_size_0_where_the_mount_cannot_be_seen(api: Any) -> None:
    job = await submit(api, files=["C:\\x\\tc-1\\new.mov"])
    assert job["unindexed"] == ["C:\\x\\tc-1\\new.mov"]
    assert job["totalSize"] == {"bytes": 0, "readable": "0 B"}


async def test_files_of_which_none_exists_are_refused(
    start_api: StartApi, database_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "other.mov").write_bytes(b"x")
    api = await start_api(container_mount_point=str(tmp_path))
    answer = await refuse(api, 400, files=["a.mov", "b/c.mov"])
    assert answer["error"] == "No files found: 'a.mov' and 1 more do not exist"
    assert answer["details"] == ["a.mov", "b/c.mov"]
    assert count_rows(database_settings) == (0, 0)


async def test_a_directory_under_files_is_refused_by_name(
    api: Any, database_settings: Settings
) -> None:
    answer = await refuse(api, 400, files=["00_Media/video.mp4", f"{FARM}/"])
    assert answer["error"] == f"Listed under files, but a directory: '{FARM}/'"
    assert answer["details"] == [f"{FARM}/"]
    assert count_rows(database_settings) == (0, 0)


async def test_an_unindexed_directory_under_files_is_refused_by_name(
    start_api: StartApi, database_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    api = await start_api(container_mount_point=str(tmp_path))
    answer = await refuse(api, 400, files=["folder"])
    assert answer["error"] == "Listed under files, but a directory: 'folder'"
    assert count_rows(database_settings) == (0, 0)


async def test_a_file_under_directories_is_refused_by_name(
    api: Any, database_settings: Settings
) -> None:
    answer = await refuse(api, 400, directories=[FARM, "00_Media/video.mp4"])
    assert answer["error"] == "Listed under directories, but a file: '00_Media/video.mp4'"
    assert count_rows(database_settings) == (0, 0)


@pytest.mark.parametrize("empty", ["empty", "never/heard/of", "C:\\x\\tc-1\\empty\\"])
async def test_a_directory_without_files_is_refused_by_name_and_nothing_is_created(
    api: Any, database_settings: Settings, empty: str
) -> None:
    add_folder(database_settings, "empty")
    body: dict[str, Any] = {"files": ["00_Media/video.mp4"], "directories": [FARM, empty]}
    for recursive in (True, False):
        answer = await refuse(api, 400, **body, recursive=recursive)
        assert answer["error"] == f"No files found in '{empty}'"
        assert answer["details"] == [empty]
    assert count_rows(database_settings) == (0, 0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"directories": ["Typo"]}, " in 'Typo': it does not exist"),
        ({"directories": ["Typo", "b/c"]}, " in 'Typo' and 1 more: they do not exist"),
        (
            {"directories": ["New"]},
            " in 'New': it exists, but nothing in it is indexed yet",
        ),
        (
            {"directories": ["New", "New/er"]},
            " in 'New' and 1 more: they exist, but nothing in them is indexed yet",
        ),
        (
            {"directories": ["New/er"], "recursive": False},
            " in 'New/er': it exists, but nothing directly in it is indexed yet",
        ),
        ({"directories": ["New"], "recursive": False}, " in 'New': there are only folders in it"),
        ({"directories": ["Old"]}, " in 'Old': there are only folders in it"),
        ({"directories": ["Old/er"]}, " in 'Old/er': it is empty"),
        (
            {"directories": ["Old/er", "Old/est"]},
            " in 'Old/er' and 1 more: they are empty",
        ),
        (
            {"directories": ["Old", "Old/er"]},
            " in 'Old' and 1 more: there are only folders in them",
        ),
        ({"directories": ["New", "Typo"]}, " in 'New' and 1 more"),
    ],
)
async def test_why_a_directory_has_no_files_is_told_where_the_mount_is_visible(
    start_api: StartApi, tmp_path: Path, body: dict[str, Any], reason: str
) -> None:
    for folder in ("New/er", "Old/er", "Old/est"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "New/er/a.mov").touch()
    api = await start_api(container_mount_point=str(tmp_path))
    answer = await refuse(api, 400, **body)
    assert answer["error"] == f"No files found{reason}"
    assert answer["details"] == body["directories"]


async def test_an_unindexed_file_under_directories_is_refused_by_name(
    start_api: StartApi, tmp_path: Path
) -> None:
    (tmp_path / "new.mov").touch()
    api = await start_api(container_mount_point=str(tmp_path))
    answer = await refuse(api, 400, directories=["no", "new.mov"])
    assert answer["error"] == "Listed under directories, but a file: 'new.mov'"
    assert answer["details"] == ["new.mov"]


async def test_a_directory_of_directories_has_no_files_unless_recursive(
    api: Any, database_settings: Settings
) -> None:
    answer = await refuse(api, 400, directories=["00_Media/Farm"], recursive=False)
    assert answer["error"] == "No files found in '00_Media/Farm'"
    assert (await submit(api, directories=["00_Media/Farm"]))["totalFiles"] == 3


@pytest.mark.parametrize("whole", [MOUNT, f"{MOUNT}/", "/Volumes/dmpfs/tc-east-1"])
async def test_the_whole_filespace_is_asked_for_by_its_own_path(api: Any, whole: str) -> None:
    assert (await submit(api, directories=[whole]))["totalFiles"] == len(TREE)


@pytest.mark.parametrize("field", ["files", "directories"])
async def test_an_empty_variable_of_a_script_does_not_warm_everything(
    api: Any, database_settings: Settings, field: str
) -> None:
    for typed in ("", "/", "//", ".", "./", "\\", "  ", "a/.."):
        answer = await refuse(api, 400, **{field: [typed]})
        assert answer["error"].startswith("Cannot use the path ")
        assert answer["details"][0]["path"] == typed
    assert count_rows(database_settings) == (0, 0)


async def test_what_is_outside_of_allowed_paths_is_forbidden(
    start_api: StartApi, database_settings: Settings
) -> None:
    add_files(database_settings, TREE)
    api = await start_api(allowed_paths=("00_Media",))
    for body in (
        {"files": ["01_VFX/shot.exr"]},
        {"directories": ["01_VFX"]},
        {"directories": [MOUNT]},
        {"directories": ["00_Media", "00_MediaX"]},
        {"files": ["00_Media/../01_VFX/shot.exr"]},
    ):
        answer = await refuse(api, 403, **body)
        assert "outside the paths that may be cached" in answer["error"]
    assert count_rows(database_settings) == (0, 0)
    assert (await submit(api, directories=["00_Media"]))["totalFiles"] == 4


async def test_a_job_and_its_items_become_visible_together(
    api: Any, database_settings: Settings
) -> None:
    """The backend's worker picks a job the instant its row is visible."""
    job = await submit(api, directories=["00_Media"])
    (row,) = run(
        database_settings,
        "SELECT count(DISTINCT x::text) AS writers FROM"
        " (SELECT xmin AS x FROM cache_jobs WHERE id = %s::uuid"
        "  UNION ALL SELECT xmin FROM cache_job_items WHERE job_id = %s::uuid) AS written",
        job["jobId"],
        job["jobId"],
    )
    assert row.writers == 1


async def test_only_what_was_listed_is_kept_with_the_job(
    api: Any, database_settings: Settings
) -> None:
    await submit(api, files=["01_VFX/shot.exr", "new.mov"], directories=["00_Media"])
    (row,) = run(database_settings, "SELECT file_paths, directory_paths FROM cache_jobs")
    assert row.file_paths == [f"{MOUNT}/01_VFX/shot.exr", f"{MOUNT}/new.mov"]
    assert row.directory_paths == [f"{MOUNT}/00_Media"]


async def test_a_list_may_be_empty_if_the_other_is_not(api: Any) -> None:
    assert (await submit(api, files=[], directories=[FARM]))["totalFiles"] == 3
    assert (await submit(api, files=[FARM_FILES[0]], directories=[]))["totalFiles"] == 1
