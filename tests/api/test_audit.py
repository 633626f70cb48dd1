"""The audit log: who changed what, who was kept from it, and never a secret."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.auth.callers import Scope
from gateway.auth.key_secret import make_secret
from gateway.errors import SettingsError
from gateway.http import app_keys
from gateway.logs.audit import AUDIT, MAX_TEXT_LENGTH, AuditLog
from gateway.logs.logging import configure_logging
from gateway.settings import Settings
from support.database import StartApi
from support.index_rows import add_files
from support.key_kit import JOBS, known_to, make_key
from support.processes import environment, running_command
from support.stream_kit import listening

UNKNOWN = f"{JOBS}/7d3b3a52-3d3f-4a53-9c07-9c8b6f5e9a10"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
async def api(start_api: StartApi, database_settings: Settings, path: Path) -> Any:
    add_files(database_settings, ["a/1.mov", "a/2.mov"])
    return await start_api(audit_log=str(path))


async def lines_of(api: Any, path: Path) -> list[dict[str, Any]]:
    """All lines, when those of what was answered are written."""
    await asyncio.to_thread(api.app[app_keys.AUDIT_LOG].flush)
    return lines(path)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_job_that_is_created_and_cancelled_is_one_line_each(api: Any, path: Path) -> None:
    sent = {"X-Request-ID": "from-the-farm-1"}
    response = await api.post(JOBS, json={"files": ["a/1.mov"], "directories": ["a"]}, headers=sent)
    job_id = (await response.json())["jobId"]
    await api.delete(f"{JOBS}/{job_id}")
    created, cancelled = await lines_of(api, path)
    assert created.pop("time").endswith("Z")
    assert created == {
        "event": "job.create", "outcome": "created", "caller": "default", "address": "127.0.0.1",
        "requestId": "from-the-farm-1", "method": "POST", "route": JOBS, "status": 201,
        "files": 1, "directories": 1, "paths": ["a/1.mov", "a"], "jobId": job_id,
    }  # fmt: skip
    assert (cancelled["event"], cancelled["outcome"], cancelled["jobId"]) == (
        "job.cancel", "done", job_id,
    )  # fmt: skip


REFUSED: dict[str, tuple[dict[str, Any], int]] = {
    "no JSON": ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400),
    "nothing": ({"json": {}}, 400),
    "no such file": ({"json": {"directories": ["b"]}}, 400),
    "another form": ({"data": b"a=1"}, 415),
    "too much": ({"json": {"files": ["a"] * 100_001}}, 413),
    "a wrong key": ({"json": {"files": ["a/1.mov"]}, "headers": {"X-API-Key": "wrong"}}, 401),
}


@pytest.mark.parametrize(("request_", "status"), REFUSED.values(), ids=REFUSED)
async def test_a_refused_attempt_is_one_line(
    api: Any, path: Path, request_: dict[str, Any], status: int
) -> None:
    response = await api.post(JOBS, **request_)
    assert response.status == status
    [line] = await lines_of(api, path)
    assert (line["event"], line["outcome"], line["status"]) == ("job.create", "refused", status)
    assert line["error"] == (await response.json())["error"][:MAX_TEXT_LENGTH]
    assert line["caller"] == (None if status == 401 else "default")


async def test_who_cancels_what_is_not_there_or_has_ended_is_written_down(
    api: Any, path: Path
) -> None:
    job_id = (await (await api.post(JOBS, json={"files": ["a/1.mov"]})).json())["jobId"]
    for url in (UNKNOWN, f"{JOBS}/{job_id}", f"{JOBS}/{job_id}"):
        await api.delete(url)
    assert [(it["outcome"], it["status"]) for it in await lines_of(api, path)] == [
        ("created", 201), ("refused", 404), ("done", 200), ("refused", 409),
    ]  # fmt: skip


async def test_of_reading_only_what_was_not_the_callers_right_is_written(
    api: Any, path: Path, database_settings: Settings
) -> None:
    headers = await known_to(api, await make_key(database_settings, "w", [Scope.JOBS_WRITE]))
    await lines_of(api, path)
    path.write_text("")
    for asked in ({}, {"X-API-Key": "wrong"}, headers):
        await api.get(JOBS, headers=asked)
    await api.get(UNKNOWN)
    told = [
        (it["event"], it["route"], it["status"], it["caller"]) for it in await lines_of(api, path)
    ]
    assert told == [("request", JOBS, 401, None), ("request", JOBS, 403, "w")]


@pytest.mark.usefixtures("still_clock")
async def test_a_mutation_over_the_limit_is_written(
    start_api: StartApi, database_settings: Settings, path: Path
) -> None:
    api = await start_api(audit_log=str(path), rate_limit_per_minute=1)
    for _ in range(2):
        await api.delete(UNKNOWN)
    assert [it["status"] for it in await lines_of(api, path)] == [404, 429]


async def test_a_stranger_writes_ten_lines_a_minute_at_most(
    start_api: StartApi, path: Path
) -> None:
    api = await start_api(audit_log=str(path))
    for _ in range(15):
        await api.delete(UNKNOWN, headers={"X-API-Key": "wrong"})
    assert [it["status"] for it in await lines_of(api, path)] == [401] * 10


async def test_a_mutation_that_fails_is_written_as_failed(
    api: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.jobs.store import JobStore

    async def fail(*_arguments: Any) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(JobStore, "cancel", fail)
    await api.delete(UNKNOWN)
    [line] = await lines_of(api, path)
    assert (line["outcome"], line["status"]) == ("failed", 500)


async def test_wrong_keys_and_lacking_scopes_on_a_socket_are_written(
    api: Any, path: Path, database_settings: Settings
) -> None:
    headers = await known_to(api, await make_key(database_settings, "w", [Scope.JOBS_WRITE]))
    await lines_of(api, path)
    path.write_text("")
    async with listening(api, headers=headers) as listener:
        await listener.ask(type="subscribe", channel="jobs")
        await listener.error()
        await listener.ask(type="auth", apiKey="wrong")
        await listener.error()
    told = [(it["event"], it["outcome"], it["caller"]) for it in await lines_of(api, path)]
    assert told == [("stream.subscribe", "refused", "w"), ("stream.auth", "refused", None)]


async def test_no_secret_stands_in_it_nor_in_the_logs(
    api: Any, path: Path, database_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    mine, wrong = await make_key(database_settings, "render"), make_secret()
    await known_to(api, mine)
    bodies = [{"files": ["a/1.mov"]}, {"files": ["b/../../c"]}, {"apiKey": 1}, {}]
    for secret in (mine, wrong):
        headers = {"X-API-Key": secret, "Authorization": f"Bearer {secret}"}
        for body in bodies:
            await api.post(JOBS, json=body, headers=headers)
        await api.delete(f"{UNKNOWN}?key={secret}", headers=headers)
        await api.delete(f"{JOBS}/{secret}", headers=headers)
        async with listening(api, headers={"X-API-Key": mine}) as listener:
            await listener.ask(type="auth", apiKey=secret)
            await listener.sync()
    # The test server has an access log of its own, which is not the gateway's.
    assert len(await lines_of(api, path)) >= 10
    ours = [str(vars(it)) for it in caplog.records if it.name != "aiohttp.access"]
    written = path.read_text() + "".join(ours)
    for secret in (mine, wrong):
        assert secret not in written and secret[4:20] not in written


HOSTILE = ['a\n{"event":"forged"}', "a\r\x1b[2J\u2028b", 'a"b\\', "日本/é", "x" * 5000]


async def test_a_name_cannot_forge_a_line_and_is_bounded(api: Any, path: Path) -> None:
    await api.post(JOBS, json={"files": HOSTILE + ["a"] * 100})
    [line] = await lines_of(api, path)
    text = path.read_text()
    assert text.isascii() and text.count("\n") == 1 and len(text) < 6 * 11 * MAX_TEXT_LENGTH
    assert len(line["paths"]) == 10 and line["files"] == 105
    assert line["paths"][0] == HOSTILE[0] and len(line["paths"][4]) == MAX_TEXT_LENGTH + 1


async def test_a_log_that_is_moved_away_goes_on_in_a_new_file(api: Any, path: Path) -> None:
    await api.delete(UNKNOWN)
    await lines_of(api, path)
    moved = path.rename(path.with_suffix(".1"))
    await api.delete(UNKNOWN)
    await lines_of(api, path)
    path.unlink()
    await api.delete(UNKNOWN)
    assert [len(await lines_of(api, path)), len(lines(moved))] == [1, 1]


def test_a_log_that_is_there_is_added_to(path: Path) -> None:
    path.write_text('{"event":"before"}\n')
    for _ in range(2):
        log = AuditLog(str(path))
        log.write("a", "done", "me", None)
        log.close()
    assert [it["event"] for it in lines(path)] == ["before", "a", "a"]


@pytest.mark.parametrize("place", ["", "missing/audit", "audit/under-a-file"])
def test_a_log_that_cannot_be_opened_stops_the_start_with_its_name(
    tmp_path: Path, place: str
) -> None:
    (tmp_path / "audit").touch()
    with pytest.raises(SettingsError, match="audit log"):
        create_app(Settings(audit_log=f"{tmp_path}/{place}"))


async def test_a_log_that_cannot_be_written_any_more_stops_no_request_and_is_told_once(
    api: Any, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Its folder is gone, so it cannot be opened anew.
    path.unlink()
    path.parent.rename(path.parent.with_suffix(".away"))
    for _ in range(3):
        assert (await api.delete(UNKNOWN)).status == 404
        await asyncio.to_thread(api.app[app_keys.AUDIT_LOG].flush)
    told = [r for r in caplog.records if "audit log cannot be written" in r.getMessage()]
    assert len(told) == 1
    path.parent.with_suffix(".away").rename(path.parent)
    await api.delete(UNKNOWN)
    lost, last = await lines_of(api, path)
    assert (lost["event"], lost["lines"], last["event"]) == ("audit.lost", 3, "job.cancel")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk to write to")
def test_a_full_disk_is_told_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    log = AuditLog("/dev/full")
    for _ in range(2):
        log.write("a", "done", None, None)
        log.flush()
    assert len([r for r in caplog.records if "No space left" in r.getMessage()]) == 1


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_without_a_file_its_lines_are_among_the_logs_whatever_these_are(
    capfd: pytest.CaptureFixture[str], log_format: str
) -> None:
    level, handlers = logging.root.level, logging.root.handlers[:]
    try:
        configure_logging(Settings(log_level="error", log_format=log_format))
        AuditLog().write("a.b", "done", "me", None, status=200)
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    [line] = capfd.readouterr().err.splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["status"]) == ("a.b", 200) and "level" not in entry


def test_its_lines_can_be_taken_by_a_host_who_embeds_the_gateway(
    caplog: pytest.LogCaptureFixture,
) -> None:
    AuditLog().write("a", "refused", None, "::1", error="no", nothing=None)
    [record] = [it for it in caplog.records if it.name == AUDIT]
    entry = json.loads(record.getMessage())
    assert entry["error"] == "no" and "nothing" not in entry


async def test_a_served_gateway_writes_the_file_that_it_is_told(
    database_settings: Settings, path: Path, tmp_path: Path
) -> None:
    import aiohttp

    env = environment(database_settings, API_GATEWAY_PORT="0", AUDIT_LOG=str(path))
    async with running_command("serve", env=env, cwd=tmp_path) as serve:
        url = (await serve.says("listening on")).split()[-1]
        async with aiohttp.ClientSession() as session:
            await session.delete(f"{url}{UNKNOWN}")
        # What waits to be written is written at the end.
        assert await serve.stop() == 0
    [line] = lines(path)
    assert (line["event"], line["status"], line["caller"]) == ("job.cancel", 401, None)
