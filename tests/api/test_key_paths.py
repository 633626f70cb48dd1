"""The folders that a key may cache: whatever form a client writes a path in."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import Settings as GatewaySettings
from gateway.auth.callers import Scope
from gateway.errors import SettingsError
from gateway.settings import Settings
from gateway.settings.filespaces import make_filespaces
from support.database import StartApi
from support.index_rows import add_files
from support.key_kit import JOBS, known_to, make_key

RESOLVE = "/api/v1/paths/resolve"
FILES = ["00_Media/in.mov", "00_Media2/beside.mov", "01_VFX/out.mov", "00_MEDIA/upper.mov"]
ROOTS = (
    "",
    "/media/lucidlink-1/",
    "/Volumes/dmpfs/tc-east-1/",
    "C:\\dmpfs\\tc-east-1\\",
    "//server/dmpfs/tc-east-1/",
    "/mnt/lucidlink/tc-east-1/",
)


@pytest.fixture
async def render(api: Any, database_settings: Settings) -> dict[str, str]:
    """Headers of a key that may cache 00_Media alone."""
    add_files(database_settings, FILES)
    secret = await make_key(database_settings, "render", path_prefixes=["00_Media"])
    return await known_to(api, secret)


async def submit(api: Any, headers: dict[str, str], **body: Any) -> tuple[int, dict[str, Any]]:
    response = await api.post(JOBS, json=body, headers=headers)
    return response.status, await response.json()


@pytest.mark.parametrize("root", ROOTS)
async def test_a_key_caches_within_its_folders_and_nowhere_else_in_any_form(
    api: Any, render: dict[str, str], root: str
) -> None:
    assert (await submit(api, render, files=[f"{root}00_Media/in.mov"]))[0] == 201
    assert (await submit(api, render, directories=[f"{root}00_Media"]))[0] == 201
    outside = ("01_VFX/out.mov", "00_Media2/beside.mov", "00_Media/../01_VFX/out.mov")
    for path in outside:
        status, answer = await submit(api, render, files=[f"{root}{path}"])
        assert (status, [it["path"] for it in answer["details"]]) == (403, [f"{root}{path}"])
        assert path.split("/")[-1] in answer["error"]


@pytest.mark.parametrize("whole", ["/media/lucidlink-1", "/media", "01_VFX"])
async def test_what_holds_its_folders_is_not_within_them(
    api: Any, render: dict[str, str], whole: str
) -> None:
    assert (await submit(api, render, directories=[whole]))[0] in (400, 403)


async def test_a_name_of_other_case_that_leads_outside_is_refused(
    api: Any, render: dict[str, str], database_settings: Settings
) -> None:
    # Only 00_MEDIA has it, and that is another folder.
    status, answer = await submit(api, render, files=["00_Media/UPPER.mov"])
    assert status == 403 and "UPPER.mov" in answer["error"]
    [told] = (
        await (
            await api.post(RESOLVE, json={"paths": ["00_Media/UPPER.mov"]}, headers=render)
        ).json()
    )["paths"]
    assert told["resolved"] is None and told["error"]


async def test_resolve_refuses_what_the_key_may_not_cache(api: Any, render: dict[str, str]) -> None:
    body = {"paths": ["00_Media/in.mov", "01_VFX/out.mov"]}
    mine, other = (await (await api.post(RESOLVE, json=body, headers=render)).json())["paths"]
    assert (mine["resolved"], mine["error"]) == ("00_Media/in.mov", None)
    assert other["resolved"] is None and other["error"]
    # The key of the settings is not narrowed by what was asked before.
    _mine, other = (await (await api.post(RESOLVE, json=body)).json())["paths"]
    assert other["resolved"] == "01_VFX/out.mov"


async def test_the_prefixes_of_the_settings_hold_beside_those_of_the_key(
    start_api: StartApi, database_settings: Settings
) -> None:
    add_files(database_settings, ["a/b/1.mov", "a/2.mov", "c/3.mov"])
    api = await start_api(allowed_paths=("a/b", "d"))
    headers = await known_to(api, await make_key(database_settings, "k", path_prefixes=["a", "c"]))
    for path, answer in (("a/b/1.mov", 201), ("a/2.mov", 403), ("c/3.mov", 403)):
        assert (await submit(api, headers, files=[path]))[0] == answer


async def test_a_prefix_that_a_gateway_cannot_read_narrows_the_key_to_nothing(
    api: Any, database_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    add_files(database_settings, FILES)
    for number, prefixes in enumerate((["/elsewhere/a"], ["../x", "/elsewhere/a"])):
        secret = await make_key(database_settings, f"lost {number}", path_prefixes=prefixes)
        headers = await known_to(api, secret)
        for path in FILES:
            assert (await submit(api, headers, files=[path]))[0] == 403
    assert "/elsewhere/a" in caplog.text


@pytest.mark.parametrize(
    "written",
    ["", "/", "..", "a/../..", "/elsewhere", "C:\\x", "~/a", "a\0b", "\ud800", "https://x"],
)
def test_a_prefix_that_cannot_be_meant_is_refused(written: str) -> None:
    with pytest.raises(SettingsError, match="the key's paths"):
        make_filespaces(GatewaySettings()).read_prefixes((written,))


async def test_a_key_for_reading_only_may_still_ask_what_paths_mean(
    api: Any, database_settings: Settings
) -> None:
    headers = await known_to(api, await make_key(database_settings, "r", [Scope.JOBS_READ]))
    assert (await api.post(RESOLVE, json={"paths": ["a"]}, headers=headers)).status == 200
