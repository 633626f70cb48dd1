"""Links that lead out of a filespace: refused, and nothing is told of what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.settings import Settings
from gateway.settings.filespace_settings import FilespaceSettings
from gateway.worker.readers.file_source import PosixFiles
from support.database import StartApi
from support.index_rows import count_rows
from support.key_kit import JOBS, known_to, make_key
from support.path_requests import REFUSED, resolve
from support.submit_requests import refuse
from support.worker_kit import counters, open_bench

RESOLVE = "/api/v1/paths/resolve"
REASON = "it is a link that leads out of the filespace, or lies behind one"
FORBIDDEN = "it is outside the paths that may be cached"


async def test_what_a_link_leads_out_to_is_refused_and_never_told(
    start_api: StartApi, database_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.mov").write_bytes(b"x" * 99)
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "ext").symlink_to(tmp_path / "other")
    (tmp_path / "media" / "a.mov").touch()
    api = await start_api(container_mount_point=str(tmp_path / "media"))
    for path in ("ext/secret.mov", "ext/none.mov", "ext"):
        for body in ({"files": ["a.mov", path]}, {"directories": [path]}):
            answer = await refuse(api, 400, **body)
            assert answer["error"] == f"Cannot use the path '{path}': {REASON}"
            assert answer["details"] == [{"path": path, "error": REASON}]
    assert count_rows(database_settings) == (0, 0)


async def test_a_link_out_of_its_filespace_is_refused_without_a_word_of_what_is_there(
    start_api: StartApi, database_settings: Settings, tmp_path: Path
) -> None:
    for name in ("east", "west"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mov").write_bytes(b"x" * 9)
    (tmp_path / "east" / "ext").symlink_to(tmp_path / "west")
    (tmp_path / "east" / "same.mov").symlink_to("a.mov")
    listed = tuple(
        FilespaceSettings(name=it, mount_point=str(tmp_path / it)) for it in ("east", "west")
    )
    api = await start_api(filespaces=listed)
    answers = await resolve(api, "east/ext/a.mov", "east/ext/no", "east/same.mov", "west/a.mov")
    assert [it["error"] for it in answers] == [REASON, REASON, None, None]
    told = REFUSED | {"filespace": "east", "rule": "filespace-name", "error": REASON}
    assert answers[0] == {"path": "east/ext/a.mov", **told}
    assert answers[1] == {"path": "east/ext/no", **told}
    assert [(it["type"], it["size"]) for it in answers[2:]] == [("file", 9), ("file", 9)]


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A mount point that is a link itself; in its folder ``public`` links lead to others."""
    media = tmp_path / "media"
    for name in ("public", "secret", "shelf"):
        (media / name).mkdir(parents=True)
        (media / name / "a.mov").write_bytes(b"x" * 9)
    for link, target in {"link": "../secret", "own.mov": "a.mov", "out": str(tmp_path)}.items():
        (media / "public" / link).symlink_to(target)
    (media / "shown").symlink_to("shelf")
    (tmp_path / "mounted").symlink_to(media)
    return tmp_path / "mounted"


BEHIND = ("public/link/a.mov", "public/link", "public/link/none.mov")


async def check_that_links_out_are_forbidden(api: Any, headers: dict[str, str]) -> None:
    for path in BEHIND:
        for body in ({"files": [path]}, {"directories": [path]}):
            response = await api.post(JOBS, json=body, headers=headers)
            answer = await response.json()
            assert (response.status, answer["details"]) == (
                403,
                [{"path": path, "error": FORBIDDEN}],
            )
    response = await api.post(RESOLVE, json={"paths": [*BEHIND, "public/own.mov"]}, headers=headers)
    told = (await response.json())["paths"]
    assert [it["error"] for it in told] == [*[FORBIDDEN] * 3, None]
    assert [it["size"] for it in told] == [None, None, None, 9]
    for path in ("public/a.mov", "public/own.mov", "shown/a.mov"):
        response = await api.post(JOBS, json={"files": [path]}, headers=headers)
        assert response.status == 201, path
    response = await api.post(JOBS, json={"files": ["public/out/x"]}, headers=headers)
    assert (await response.json())["details"] == [{"path": "public/out/x", "error": REASON}]


async def test_a_link_leads_out_of_the_allowed_paths_as_little_as_any_other_form(
    start_api: StartApi, linked: Path
) -> None:
    api = await start_api(container_mount_point=str(linked), allowed_paths=("public", "shown"))
    await check_that_links_out_are_forbidden(api, {})


async def test_a_link_leads_out_of_the_folders_of_a_key_as_little(
    start_api: StartApi, database_settings: Settings, linked: Path
) -> None:
    api = await start_api(container_mount_point=str(linked))
    prefixes = ["public", "shown"]
    secret = await make_key(database_settings, "render", path_prefixes=prefixes)
    await check_that_links_out_are_forbidden(api, await known_to(api, secret))


def test_a_reader_follows_no_link_out_of_the_allowed_paths(linked: Path) -> None:
    files = PosixFiles(str(linked), [f"{linked}/public", f"{linked}/shown"])
    for path in ("public/a.mov", "public/own.mov", "shown/a.mov"):
        descriptor, size = files.open(f"{linked}/{path}")
        files.close(descriptor)
        assert size == 9
    for path in ("public/link/a.mov", "secret/a.mov"):
        with pytest.raises(OSError, match="Outside the paths that may be cached"):
            files.open(f"{linked}/{path}")


async def test_a_worker_reads_nothing_behind_a_link_out_of_the_allowed_paths(
    database_settings: Settings, linked: Path
) -> None:
    async with open_bench(database_settings, linked, allowed_paths=("public",)) as bench:
        job_id = await bench.submit(files=["public/a.mov", "public/link/a.mov"])
        async with bench.working():
            job = await bench.end_of(job_id)
    assert counters(database_settings, job_id)[:3] == ("completed", 1, 1)
    assert job.error is not None and "Outside the paths that may be cached" in job.error
