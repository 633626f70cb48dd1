"""What failed is told by names that a client can use, never by where the server has its mounts."""

from __future__ import annotations

import pytest

from gateway.paths import Filespaces
from gateway.settings import Settings
from gateway.settings.filespace_settings import FilespaceSettings
from support.database import StartApi
from support.index_rows import add_item, make_job
from support.path_cases import EAST, LISTED, MOUNT, SINGLE, WEST
from support.stream_kit import listening


@pytest.mark.parametrize(
    ("filespaces", "sentence", "told"),
    [
        (SINGLE, f"the first: {MOUNT}/a/b.mov: No such file", "the first: a/b.mov: No such file"),
        (SINGLE, f"ENOENT, open '{MOUNT}/a'", "ENOENT, open 'a'"),
        (SINGLE, f"{MOUNT}/a", "a"),
        (SINGLE, f"{MOUNT}-10/a /other{MOUNT}/a {MOUNT}", f"{MOUNT}-10/a /other{MOUNT}/a {MOUNT}"),
        (LISTED, f"{WEST}/a, {EAST}/b", "tc-west-1/a, tc-east-1/b"),
        (LISTED, "No such file", "No such file"),
    ],
)
def test_paths_in_a_sentence_are_told_relative_to_their_filespace(
    filespaces: Filespaces, sentence: str, told: str
) -> None:
    assert filespaces.relative_in(sentence) == told


async def test_no_answer_tells_where_the_mount_is(
    start_api: StartApi, database_settings: Settings
) -> None:
    listed = tuple(
        FilespaceSettings(name=it, mount_point=f"/media/{it}") for it in ("east", "west")
    )
    api = await start_api(filespaces=listed)
    error = "1 of 1 files failed, the first: /media/west/a.mov: No such file"
    job_id = make_job(
        database_settings, status="failed", total_files=1, failed_files=1, error_message=error
    )
    failed = {"file_path": "/media/west/a.mov", "error_message": "cannot open /media/west/a.mov"}
    add_item(database_settings, job_id, "a.mov", status="failed", **failed)
    told = "1 of 1 files failed, the first: west/a.mov: No such file"
    url = "/api/v1/cache/jobs"
    assert (await (await api.get(f"{url}/{job_id}")).json())["job"]["error"] == told
    assert (await (await api.get(url)).json())["jobs"][0]["error"] == told
    [file] = (await (await api.get(f"{url}/{job_id}/files")).json())["files"]
    assert (file["path"], file["error"]) == ("west/a.mov", "cannot open west/a.mov")
    async with listening(api) as listener:
        assert "/media" not in str(await listener.subscribe(channel="job", jobId=job_id))
