"""The key that an admin page may keep in a file: taken over while it is valid."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.api_keys import ApiKeys
from gateway.errors import Unauthorized
from gateway.http.app_keys import API_KEYS
from gateway.monitors.api_key_file import ApiKeyFileMonitor
from gateway.monitors.loop import running
from gateway.runtime.small_file import MAX_FILE_BYTES
from gateway.settings import DEMO_KEY
from support.database import StartApi, make_public_folder

OWN = "the-key-of-the-settings"
PATIENCE = 30.0


class Door:
    """The keys, the file, and who gets in after the monitor has looked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys = ApiKeys(OWN)
        self.monitor = ApiKeyFileMonitor(str(path), self.keys)

    async def opens_to(self, *keys: str) -> list[bool]:
        """Look once, then try these keys."""
        async with asyncio.timeout(PATIENCE):
            await self.monitor.check_once()
        return [self.lets_in(key) for key in keys]

    def lets_in(self, key: str) -> bool:
        try:
            self.keys.authenticate(key, "127.0.0.1", is_local=True)
        except Unauthorized:
            return False
        return True

    def write(self, key: str) -> None:
        self.path.write_text(json.dumps({"apiKey": key, "updatedAt": "2025-08-23T03:00:00.000Z"}))


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "api-gateway.json")


async def test_without_the_file_the_settings_key_opens(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    assert await door.opens_to(OWN, "new") == [True, False]
    assert caplog.records == []


async def test_a_file_that_is_written_is_picked_up_and_its_key_replaces_the_other(
    door: Door,
) -> None:
    await door.opens_to()
    door.write("new")
    assert await door.opens_to(OWN, "new") == [False, True]


async def test_a_file_that_is_there_at_the_start_holds_from_the_start(door: Door) -> None:
    door.write("new")
    assert await door.opens_to(OWN, "new") == [False, True]


async def test_a_file_rewritten_in_place_is_picked_up(door: Door) -> None:
    door.write("first")
    await door.opens_to()
    door.write("other")
    assert await door.opens_to("first", "other") == [False, True]


async def test_a_rewrite_that_leaves_time_and_size_as_they_were_is_picked_up(door: Door) -> None:
    door.write("first")
    os.utime(door.path, ns=(10**18, 10**18))
    await door.opens_to()
    door.write("other")
    os.utime(door.path, ns=(10**18, 10**18))
    assert await door.opens_to("first", "other") == [False, True]


async def test_a_file_that_is_renamed_into_place_is_picked_up(door: Door) -> None:
    door.write("first")
    await door.opens_to()
    beside = Door(door.path.with_suffix(".new"))
    beside.write("other")
    beside.path.replace(door.path)
    assert await door.opens_to("first", "other") == [False, True]


async def test_a_link_that_is_turned_to_another_file_is_picked_up(
    door: Door, tmp_path: Path
) -> None:
    for name in ("first", "other"):
        Door(tmp_path / name).write(name)
    door.path.symlink_to(tmp_path / "first")
    assert await door.opens_to("first") == [True]
    door.path.unlink()
    door.path.symlink_to(tmp_path / "other")
    assert await door.opens_to("first", "other") == [False, True]


async def test_a_removed_file_gives_the_settings_key_its_place_back(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    door.write("new")
    await door.opens_to()
    door.path.unlink()
    for _ in range(3):
        assert await door.opens_to(OWN, "new") == [True, False]
    assert len([r for r in caplog.records if "is gone" in r.getMessage()]) == 1


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"apiKey=new",
    "cut off": b'{"apiKey": "ne',
    "half written": b'{"apiKey": "new", "updatedAt": "2025-',
    "a list": b'["new"]',
    "null": b"null",
    "no key": b'{"updatedAt": "2025-08-23T03:00:00.000Z"}',
    "another name": b'{"api_key": "new"}',
    "a number for a key": b'{"apiKey": 17}',
    "null for a key": b'{"apiKey": null}',
    "an empty key": b'{"apiKey": ""}',
    "a blank key": b'{"apiKey": " \\t\\n "}',
    "an object for a key": b'{"apiKey": {"value": "new"}}',
    "bytes that are no text": b'{"apiKey": "\xff\xfe"}',
    "a lone surrogate": b'{"apiKey": "\\ud800"}',
    "zeros": bytes(4096),
    "deep nesting": b"[" * 60_000,
    "huge": b'{"apiKey": "new", "padding": "' + b"a" * 20_000_000 + b'"}',
    "huge, with the key in front": b'{"apiKey": "new"}' + b" " * MAX_FILE_BYTES,
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_file_keeps_the_last_good_key(
    door: Door, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    door.write("good")
    await door.opens_to()
    door.path.write_bytes(text)
    for _ in range(2):
        assert await door.opens_to("good", OWN, "new", "", " ") == [True, *[False] * 4]
    assert len([r for r in caplog.records if "no valid key" in r.getMessage()]) == 1
    door.write("better")
    assert await door.opens_to("good", "better") == [False, True]


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
async def test_a_file_that_never_was_valid_leaves_the_settings_key(door: Door, text: bytes) -> None:
    door.path.write_bytes(text)
    assert await door.opens_to(OWN, "new", "") == [True, False, False]


async def test_a_folder_in_the_files_place_keeps_the_last_good_key(door: Door) -> None:
    door.write("good")
    await door.opens_to()
    door.path.unlink()
    door.path.mkdir()
    assert await door.opens_to("good", OWN) == [True, False]
    door.path.rmdir()
    assert await door.opens_to("good", OWN) == [False, True]


async def test_a_pipe_in_the_files_place_holds_nobody_up(door: Door) -> None:
    door.write("good")
    await door.opens_to()
    door.path.unlink()
    os.mkfifo(door.path)
    assert await door.opens_to("good", OWN) == [True, False]


async def test_a_link_in_circles_keeps_the_last_good_key(door: Door) -> None:
    door.write("good")
    await door.opens_to()
    door.path.unlink()
    door.path.symlink_to(door.path)
    assert await door.opens_to("good", OWN) == [True, False]


async def test_a_file_where_the_folder_should_be_is_no_file(door: Door, tmp_path: Path) -> None:
    tmp_path.joinpath("file").touch()
    assert await Door(tmp_path / "file" / "api-gateway.json").opens_to(OWN) == [True]


# Run by an account that may not read everything; root may.
UNREADABLE = """
import asyncio, concurrent.futures.thread, os, pathlib, sys
sys.path[:0] = sys.argv[2:]
from test_api_key_file import Door, OWN
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
door = Door(pathlib.Path(sys.argv[1]) / "api-gateway.json")
door.write("good")
assert asyncio.run(door.opens_to("good")) == [True]
door.write("better")
door.path.chmod(0)
assert asyncio.run(door.opens_to("good", OWN, "better")) == [True, False, False]
door.path.chmod(0o600)
assert asyncio.run(door.opens_to("good", "better")) == [False, True]
door.path.parent.chmod(0)
assert asyncio.run(door.opens_to("better", OWN)) == [True, False]
door.path.parent.chmod(0o700)
"""


def test_an_unreadable_file_keeps_the_last_good_key_until_it_can_be_read() -> None:
    with make_public_folder() as folder:
        inner = folder / "config"
        inner.mkdir()
        inner.chmod(0o777)
        if os.geteuid() == 0:
            os.chown(inner, 65534, 65534)
        result = subprocess.run(
            [sys.executable, "-c", UNREADABLE, inner, *sys.path],
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stderr


async def test_the_running_monitor_wakes_within_the_promised_five_seconds(door: Door) -> None:
    assert door.monitor.interval <= 5
    async with running(door.monitor):
        door.write("new")
        await until(door, "new")


async def test_the_api_opens_to_the_files_key_and_then_to_its_own_again(
    start_api: StartApi, tmp_path: Path
) -> None:
    door = Door(tmp_path / "api-gateway.json")
    api = await start_api(api_key_file=str(door.path))
    door.keys = api.app[API_KEYS]
    assert [await status(api, "new"), await status(api)] == [401, 200]
    door.write("new")
    await until(door, "new")
    assert [await status(api, "new"), await status(api)] == [200, 401]
    door.path.unlink()
    await until(door, DEMO_KEY)
    assert [await status(api, "new"), await status(api)] == [401, 200]


async def status(api: Any, key: str = DEMO_KEY) -> int:
    answer: int = (await api.get("/api/v1/cache/jobs", headers={"X-API-Key": key})).status
    return answer


async def until(door: Door, opens_to: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not door.lets_in(opens_to):
            await asyncio.sleep(0.01)
