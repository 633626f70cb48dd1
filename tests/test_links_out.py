"""Links that lead out of a filespace: refused, and nothing is told of what is there."""

from __future__ import annotations

from pathlib import Path

from conftest import StartApi
from index_rows import count_rows
from test_resolve_api import REFUSED, resolve
from test_submit_api import refuse

from gateway.filespace_settings import FilespaceSettings
from gateway.settings import Settings

REASON = "it is a link that leads out of the filespace, or lies behind one"


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
