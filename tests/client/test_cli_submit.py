"""``submit`` and ``resolve``: paths as people give them, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import Settings
from support.cli_kit import Answering, User, ended, line_with
from support.client_server import KEY, Server, quiet_port
from support.database import change
from support.processes import PATIENCE
from support.worker_kit import Bench, GatedFiles, happens, item_states, open_bench, query

MIB = 1024 * 1024
TREE = {"a/one.mov": 3 * MIB, "a/b/two.exr": 4, "c/Café 100%.exr": 5, "empty/": 0}
SUBMIT = "POST /api/v1/cache/jobs"
RESOLVE = "POST /api/v1/paths/resolve"
CREATED = {
    "success": True, "jobId": "6bb4629b-1487-477c-96fe-b762d82a099b", "status": "pending",
    "totalFiles": 1, "totalSize": {"bytes": 5, "readable": "5 B"}, "unindexed": [],
    "createdAt": "2026-11-24T10:23:00.072Z",
}  # fmt: skip


@pytest.fixture
async def bench(database_settings: Settings, tmp_path: Path) -> AsyncIterator[Bench]:
    own = {"api_gateway_key": KEY, "rate_limit_per_minute": 0, "poll_limit_per_minute": 0}
    settings = change(database_settings, own)
    async with open_bench(settings, tmp_path.resolve() / "mount") as bench:
        await bench.index(TREE)
        yield bench


@pytest.fixture
async def user(bench: Bench, tmp_path: Path) -> AsyncIterator[User]:
    server = Server(bench.settings.model_copy(update={"api_gateway_port": quiet_port()}))
    await server.start()
    yield User(server.url, tmp_path)
    await server.stop()


async def test_a_job_is_submitted_and_watched_to_its_end(user: User, bench: Bench) -> None:
    async with bench.working():
        done = await user.run("submit", "a", "c/Café 100%.exr", "--watch")
    assert done.code == 0, done.errors
    first, *_, last = done.output.splitlines()
    assert first.endswith(": 3 files, 3.0 MB")
    assert last == "completed 100 %, 3 of 3 files, 3.0 MB of 3.0 MB"


async def test_files_that_fail_are_told_and_end_with_a_code_of_their_own(
    user: User, bench: Bench
) -> None:
    async with bench.working():
        done = await user.run("submit", "a", "c/lost.exr", "--files")
    assert done.code == 6
    assert "failed  c/lost.exr: No such file or directory\n" in done.output
    assert "read    a/one.mov (3.0 MB)\n" in done.output
    assert "Not in the index, so read if they exist:\n  c/lost.exr\n" in done.errors
    assert "1 of 3 files failed" in done.errors


async def test_a_job_in_which_all_fails_ends_with_1_and_a_cancelled_one_with_3(
    user: User, bench: Bench
) -> None:
    files = GatedFiles(bench.mount, held="one.mov")
    async with bench.working(source=files):
        process = await user.start("submit", "a", "--watch", "--json")
        await happens(files.waiting)
        job_id = json.loads(await line_with(process, "snapshot"))["job"]["id"]
        cancelled = await user.run("cancel", job_id, "--json")
        assert cancelled.json() == {"id": job_id, "status": "cancelled"}
        assert (await ended(process)).code == 3
        files.gate.set()
        (bench.mount / "a" / "b" / "two.exr").unlink()
        assert (await user.run("submit", "a/b/two.exr", "--watch")).code == 1
    again = await user.run("cancel", job_id)
    assert again.code == 5
    assert "ended" in again.errors


async def test_directories_are_told_from_files_by_the_gateway(user: User, bench: Bench) -> None:
    """Also one that only the mount knows; the slash says nothing here."""
    done = await user.run("submit", "a", "c/", "c/Café 100%.exr", "--json")
    assert done.code == 0, done.errors
    job = done.json()
    assert (job["totalFiles"], job["totalSizeBytes"], job["unindexed"]) == (3, 3 * MIB + 9, [])
    assert sum(item_states(bench.settings, job["id"]).values()) == 3
    empty = await user.run("submit", "a", "empty")
    assert empty.code == 5
    assert "it is empty" in empty.errors


async def test_folders_within_directories_can_be_left_out(user: User) -> None:
    done = await user.run("submit", "a", "--no-recursive", "--json")
    assert done.json()["totalFiles"] == 1


async def test_paths_are_read_from_standard_input_and_files(user: User, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa/one.mov\r\n\r\na/b/two.exr\r\n")
    lists: list[tuple[tuple[str, ...], bytes]] = [
        (("-",), b"a/one.mov\na/b/two.exr\na/one.mov"),
        (("-", "-0"), b"a/one.mov\0a/b/two.exr\0"),
        (("--from-file", "-"), b"a/one.mov\na/b/two.exr\n"),
        (("--from-file", str(tmp_path / "list.txt")), b""),
        (("a/b/two.exr", "-"), b"a/one.mov\n"),
    ]
    for arguments, told in lists:
        done = await user.run("submit", *arguments, "--json", told=told)
        assert done.code == 0, done.errors
        assert done.json()["totalSizeBytes"] == 3 * MIB + 4


async def test_long_lists_are_taken_and_longer_ones_refused(user: User) -> None:
    names = [f"c/{number}.exr" for number in range(100_000)]
    told = "\n".join(names).encode()
    done = await user.run("submit", "-", "a/one.mov", told=told)
    assert done.code == 5
    assert "At most 100,000 names" in done.errors
    done = await user.run("submit", "-", "a/one.mov", told=b"\n".join(told.split(b"\n")[:12_000]))
    assert done.code == 0, done.errors
    assert ": 12,001 files" in done.output
    assert "  … and 11,980 more\n" in done.errors


async def test_names_that_nobody_would_think_of_do_no_harm(user: User, bench: Bench) -> None:
    junk = b"c/\x1b[31m\x07red\xe2\x80\xae.exr"
    done = await user.run("submit", "a", junk, "[bold]c", "--", "--not-an-option")
    assert done.code in (0, 5)
    assert "\x1b" not in done.output + done.errors
    assert "\u202e" not in done.errors
    for path in (b"\xff\xfe.mov", b"a/\xed\xa0\x80"):
        done = await user.run("submit", path)
        assert done.code == 2
        assert "is no UTF-8" in done.errors
    done = await user.run("submit", "-", told=bytes(range(256)) * 50)
    assert done.code == 2
    done = await user.run("submit", "a", "")
    assert done.code == 5
    assert "'': it is empty" in done.errors


async def test_what_is_refused_is_told_path_by_path(user: User, bench: Bench) -> None:
    done = await user.run("submit", "/etc/passwd", "../x", "a")
    assert (done.code, done.output) == (5, "")
    assert "\nIt names:\n  /etc/passwd: " in done.errors
    assert "\n  ../x: " in done.errors
    [row] = query(bench.settings, "SELECT count(*) AS n FROM cache_jobs")
    assert row.n == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "At least one path is needed"),
        (("-",), "At least one path is needed"),
        (("--from-file", "missing.txt"), "missing.txt cannot be read: No such file or directory"),
        (("--from-file", "."), "cannot be read: Is a directory"),
        (("a", "--wach"), "No such option"),
    ],
)
async def test_a_command_that_cannot_be_meant_so_is_no_request(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    done = await User("http://127.0.0.1:1", tmp_path).run("submit", *arguments)
    assert (done.code, done.output) == (2, "")
    assert says in done.errors


# Against servers that answer as a newer or an older gateway does.


@pytest.fixture
async def answering(aiohttp_server: Any, tmp_path: Path) -> tuple[Answering, User]:
    server = Answering(aiohttp_server)
    server.answers[SUBMIT] = (201, CREATED)
    return server, User(await server.start(), tmp_path)


def meaning(path: str, kind: str | None) -> dict[str, Any]:
    return {
        "path": path, "resolved": path.rstrip("/"), "sendable": f"tc-east-1/{path.rstrip('/')}",
        "filespace": "tc-east-1", "rule": "relative",
        "indexed": kind is not None, "type": kind, "size": 5 if kind == "file" else None,
        "error": None,
    }  # fmt: skip


def tell_kinds(kinds: dict[str, str]) -> Any:
    return lambda body: (
        200,
        {"success": True, "paths": [meaning(p, kinds.get(p)) for p in body["paths"]]},
    )


async def test_what_the_gateway_says_of_a_path_counts_else_how_it_is_written(
    answering: tuple[Answering, User],
) -> None:
    server, user = answering
    server.answers[RESOLVE] = (200, tell_kinds({"d": "directory", "f/": "file"}))
    done = await user.run("submit", "d", "f/", "new", "new/", "X:\\tc\\", "--no-recursive")
    assert done.code == 0, done.errors
    done = await user.run("submit", "f/", "new", "--directory")
    bodies = [body for request, body in server.got if request == SUBMIT]
    assert bodies == [
        {"files": ["f/", "new"], "directories": ["d", "new/", "X:\\tc\\"], "recursive": False},
        {"files": ["f/"], "directories": ["new"], "recursive": True},
    ]


async def test_many_paths_are_asked_for_in_parts(answering: tuple[Answering, User]) -> None:
    server, user = answering
    server.answers[RESOLVE] = (200, tell_kinds({}))
    told = "\n".join(map(str, range(20_001))).encode()
    assert (await user.run("submit", "-", told=told)).code == 0
    asked = [len(body["paths"]) for request, body in server.got if request == RESOLVE]
    assert asked == [10_000, 10_000, 1]


async def test_an_older_gateway_says_what_is_a_directory_when_it_refuses(
    answering: tuple[Answering, User],
) -> None:
    server, user = answering

    def create(body: Any) -> tuple[int, Any]:
        for known in (["a", "b"], ["on the mount"]):
            if wrong := [path for path in body["files"] if path in known]:
                error = f"Listed under files, but a directory: '{wrong[0]}'"
                return 400, {"success": False, "error": error, "details": wrong}
        return 201, CREATED

    server.answers[SUBMIT] = (0, create)
    done = await user.run("submit", "a", "f", "b", "on the mount", "d/")
    assert done.code == 0, done.errors
    assert server.got[-1][1] == {
        "files": ["f"], "directories": ["d/", "a", "b", "on the mount"], "recursive": True,
    }  # fmt: skip


async def test_a_gateway_that_only_refuses_is_not_asked_for_ever(
    answering: tuple[Answering, User],
) -> None:
    server, user = answering
    error = "Listed under files, but a directory: 'a'"
    server.answers[SUBMIT] = (400, {"success": False, "error": error, "details": ["a", {}, 7]})
    done = await user.run("submit", "a")
    assert done.code == 5
    assert f"Error: {error}" in done.errors
    assert len([one for one in server.got if one[0] == SUBMIT]) == 2


async def test_names_that_were_found_under_another_spelling_are_told(
    answering: tuple[Answering, User],
) -> None:
    server, user = answering
    matched = [{"path": "CAFÉ", "resolved": "Café"}]
    server.answers[SUBMIT] = (201, {**CREATED, "matched": matched})
    done = await user.run("submit", "CAFÉ", "--json")
    assert done.json()["matched"] == {"CAFÉ": "Café"}
    assert done.errors == "Found under another spelling:\n  CAFÉ → Café\n"
    # Where the terminal knows no such letters, the JSON is still JSON.
    user.more["PYTHONIOENCODING"] = "ascii"
    done = await ended(await user.start("submit", "CAFÉ", "--json"))
    assert done.json()["matched"] == {"CAFÉ": "Café"}


async def test_resolve_says_what_paths_mean(answering: tuple[Answering, User]) -> None:
    server, user = answering
    server.answers[RESOLVE] = (200, tell_kinds({"d/": "directory", "f": "file"}))
    done = await user.run("resolve", "d/", "f", "n")
    assert done.code == 0, done.errors
    assert done.output.splitlines() == [
        "d/", "  → tc-east-1/d: directory, in the index, by the rule relative",
        "f", "  → tc-east-1/f: file, 5 B, in the index, by the rule relative",
        "n", "  → tc-east-1/n: unknown, not in the index, by the rule relative",
    ]  # fmt: skip
    [shown] = (await user.run("resolve", "f", "--json")).json()["paths"]
    assert (shown["type"], shown["sendable"]) == ("file", "tc-east-1/f")
    refused = {**meaning("/etc", None), "resolved": None, "error": "it is outside"}
    server.answers[RESOLVE] = (200, {"success": True, "paths": [refused]})
    done = await user.run("resolve", "/etc")
    assert (done.code, done.output) == (5, "/etc\n  ✗ refused: it is outside\n")


async def test_a_blank_at_the_end_of_a_path_is_seen(answering: tuple[Answering, User]) -> None:
    server, user = answering
    server.answers[RESOLVE] = (200, tell_kinds({}))
    done = await user.run("resolve", "a .mov ", " it's", "'q'", "👩‍🚀‍.mov")
    assert done.output.splitlines()[::2] == ["'a .mov '", '" it\'s"', "\"'q'\"", "👩‍🚀\\u200d.mov"]
    assert done.output.splitlines()[1].startswith("  → 'tc-east-1/a .mov ': unknown")


async def test_an_older_gateway_says_at_least_where_in_its_filespace_a_path_is(
    answering: tuple[Answering, User],
) -> None:
    server, user = answering
    older = {name: told for name, told in meaning("d", None).items() if name != "sendable"}
    whole = older | {"path": "/m", "resolved": ""}
    server.answers[RESOLVE] = (200, {"success": True, "paths": [older, whole]})
    assert (await user.run("resolve", "d", "/m")).output.splitlines()[1::2] == [
        "  → d: unknown, not in the index, by the rule relative",
        "  → all of tc-east-1: the whole filespace, not in the index, by the rule relative",
    ]


async def test_a_gateway_that_cannot_resolve_is_told_of(answering: tuple[Answering, User]) -> None:
    done = await answering[1].run("resolve", "x")
    assert done.code == 5
    assert "does not say what paths mean: it is older" in done.errors


async def test_who_stops_while_submitting_is_told_that_there_may_be_a_job(
    answering: tuple[Answering, User],
) -> None:
    server, user = answering
    server.silent = SUBMIT
    process = await user.start("submit", "a")
    async with asyncio.timeout(PATIENCE):
        await server.asked.wait()
    process.send_signal(signal.SIGINT)
    done = await ended(process)
    assert done.code == 130
    assert done.errors.endswith("Whether there is a job, say: teamcache-gateway jobs\n")


async def test_ctrl_c_ends_the_reading_of_paths(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list")
    user = User("http://127.0.0.1:1", tmp_path)
    process = await user.start("submit", "--from-file", "list")
    # It is opened once the program reads from it.
    async with asyncio.timeout(PATIENCE):
        writing = await asyncio.to_thread(os.open, tmp_path / "list", os.O_WRONLY)
    process.send_signal(signal.SIGINT)
    done = await ended(process)
    os.close(writing)
    assert (done.code, done.output, done.errors) == (130, "", "")
