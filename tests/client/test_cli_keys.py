"""``keys``: what an operator makes, sees and takes back."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.api_keys import digest_of
from gateway.auth.key_secret import is_secret
from gateway.cli.key_options import ExpiryTime
from gateway.settings import Settings
from support.cli_kit import PROGRAM, ended
from support.index_rows import run
from support.key_kit import known_to, status, until_status
from support.key_operator import Operator


async def test_a_key_is_made_opens_a_running_gateway_and_is_revoked(
    api: Any, operator: Operator
) -> None:
    secret = await operator.create("render")
    headers = await known_to(api, secret)
    assert await status(api, headers) == 400
    done = await operator.keys("revoke", "render")
    assert (done.code, done.errors.splitlines()[-1]) == (0, "The key render is revoked.")
    await until_status(api, headers, lambda code: code == 401)


async def test_a_key_is_disabled_and_enabled(api: Any, operator: Operator) -> None:
    headers = await known_to(api, await operator.create("render"))
    for verb, code in (("disable", 401), ("enable", 400)):
        assert (await operator.keys(verb, "render")).code == 0
        await until_status(api, headers, lambda it, code=code: it == code)


async def test_what_a_key_is_for_is_kept_and_listed(operator: Operator) -> None:
    before = datetime.now(UTC)
    await operator.create(
        "render", "--scope", "jobs:write", "--scope", "admin", "--path", "00_Media",
        "--path", "01_VFX/", "--rate", "60", "--poll-rate", "0", "--expires", "90d",
    )  # fmt: skip
    await operator.create("usual")
    first, second = await operator.listed()
    ends = datetime.fromisoformat(first.pop("expiresAt"))
    assert timedelta(days=89) < ends - before < timedelta(days=91)
    created = datetime.fromisoformat(first.pop("createdAt"))
    assert abs(created - before) < timedelta(minutes=10)
    assert first == {
        "name": "render", "state": "valid", "scopes": ["jobs:write", "admin"],
        "paths": ["00_Media", "01_VFX/"], "ratePerMinute": 60, "pollsPerMinute": 0,
        "fingerprint": None, "disabledAt": None, "revokedAt": None,
    }  # fmt: skip
    assert second["scopes"] == ["jobs:read", "jobs:write"]
    assert second["expiresAt"] is second["ratePerMinute"] is None


async def test_the_list_is_for_people_and_shows_each_state(
    operator: Operator, database_settings: Settings
) -> None:
    assert "no keys but API_GATEWAY_KEY" in (await operator.keys("list")).errors
    for name in ("valid", "disabled", "revoked", "expired"):
        await operator.create(name, "--expires", "1h")
    await operator.keys("disable", "disabled")
    await operator.keys("revoke", "revoked")
    run(
        database_settings,
        "UPDATE teamcache_gateway.api_keys SET expires_at = now() WHERE name = 'expired'",
    )
    header, *rows = (await operator.keys("list")).output.splitlines()
    assert header.split()[:3] == ["NAME", "STATE", "SCOPES"]
    assert all(row.split()[0] == row.split()[1] for row in rows) and len(rows) == 4


async def test_the_secret_is_shown_once_and_kept_nowhere(
    operator: Operator, database_settings: Settings
) -> None:
    secret = await operator.create("render")
    shown = [await operator.keys("list"), await operator.keys("list", "--json")]
    [row] = run(database_settings, "SELECT api_keys::text AS text, digest FROM"
                                   " teamcache_gateway.api_keys")  # fmt: skip
    digest = digest_of(secret)
    assert bytes(row.digest) == digest
    told = "".join(it.output + it.errors for it in shown) + operator.audit.read_text()
    assert secret not in told + row.text and digest.hex() not in told


async def test_json_holds_the_key_once(operator: Operator) -> None:
    done = await operator.keys("create", "render", "--json", "--path", "a")
    answer = done.json()
    assert is_secret(answer["key"]) and (answer["name"], answer["paths"]) == ("render", ["a"])
    assert answer["key"] not in done.errors


async def test_each_change_and_each_refusal_is_in_the_audit_log(operator: Operator) -> None:
    await operator.create("render", "--path", "a")
    await operator.keys("create", "render")
    await operator.keys("revoke", "nobody")
    await operator.keys("disable", "render")
    await operator.keys("enable", "render")
    await operator.keys("revoke", "render")
    told = [(it["event"], it["outcome"], it["key"]) for it in operator.audited()]
    assert told == [
        ("key.create", "created", "render"),
        ("key.create", "refused", "render"),
        ("key.revoke", "refused", "nobody"),
        ("key.disable", "done", "render"),
        ("key.enable", "done", "render"),
        ("key.revoke", "done", "render"),
    ]
    first = operator.audited()[0]
    assert first["caller"].startswith("user ") and first["address"]
    assert (first["scopes"], first["paths"]) == (["jobs:read", "jobs:write"], ["a"])


async def test_a_name_is_never_given_twice_also_when_its_key_is_revoked(
    operator: Operator,
) -> None:
    await operator.create("render")
    for _ in range(2):
        done = await operator.keys("create", "render")
        assert (done.code, done.output) == (1, "")
        assert 'There is a key "render" already' in done.errors
        await operator.keys("revoke", "render")
    assert len(await operator.listed()) == 1


HOSTILE = ["", " ", " a", "a ", "a\nb", "a\x1b[2J", "default", "DEFAULT", "x" * 101, "e\u0301",
           "a\u202eb", "\ud800"]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
async def test_a_name_that_would_mislead_is_refused_in_a_sentence(
    operator: Operator, name: str
) -> None:
    done = await operator.keys("create", "--", name)
    assert (done.code, done.output) == (1, "")
    assert done.errors.splitlines()[-1].startswith("Error: ") and "\x1b" not in done.errors
    assert await operator.listed() == []


@pytest.mark.parametrize("name", ["Ünïcode – 日本", "a'; DROP TABLE files;--", "%s", 'a"b', "{}"])
async def test_a_strange_name_is_a_name(operator: Operator, name: str) -> None:
    await operator.create(name)
    assert (await operator.listed())[0]["name"] == name
    assert (await operator.keys("revoke", name)).code == 0


@pytest.mark.parametrize("name", ["nobody", "a\0b", "\ud800", ""], ids=ascii)
@pytest.mark.parametrize("verb", ["revoke", "disable", "enable"])
async def test_a_key_that_is_not_there_is_named(operator: Operator, verb: str, name: str) -> None:
    done = await operator.keys(verb, name)
    assert done.code == 1 and done.errors.splitlines()[-1].startswith("Error: There is no key")


async def test_a_revoked_key_stays_revoked(operator: Operator) -> None:
    await operator.create("render")
    await operator.keys("revoke", "render")
    [before] = await operator.listed()
    assert (await operator.keys("enable", "render")).code == 1
    assert (await operator.keys("revoke", "render")).code == 0
    assert await operator.listed() == [before]


WRONG: list[list[str]] = [
    ["--scope", "everything"], ["--rate", "-1"], ["--rate", "many"], ["--poll-rate", "1000001"],
    ["--expires", "yesterday"], ["--expires", "2001-01-01"], ["--expires", "0d"],
    ["--expires", "9999999w"], ["--expires", "-5d"], ["--path", ""], ["--path", "../a"],
    ["--path", "/elsewhere"], ["--path", "C:\\a"],
]  # fmt: skip


@pytest.mark.parametrize("options", WRONG, ids=" ".join)
async def test_a_wrong_option_makes_no_key(operator: Operator, options: list[str]) -> None:
    from gateway.errors import SettingsError

    try:
        done = await operator.keys("create", "render", *options)
    except SettingsError as error:
        # Told and turned into code 2 by the program, as every wrong setting.
        assert "the key's paths" in error.message
    else:
        assert (done.code, done.output) == (2, "")
    assert await operator.listed() == []


@pytest.mark.parametrize("text", ["30m", "12h", "90d", "2w", "2090-01-31", "2090-01-31T12:00Z"])
def test_the_end_of_a_key_is_a_span_or_a_moment(text: str) -> None:
    assert ExpiryTime().convert(text, None, None) > datetime.now(UTC)


async def test_two_who_make_the_same_key_at_once_make_one(operator: Operator) -> None:
    from support.key_kit import make_key

    made = await asyncio.gather(
        *(make_key(operator.settings, "render") for _ in range(8)), return_exceptions=True
    )
    assert len([it for it in made if isinstance(it, str)]) == 1
    assert len(await operator.listed()) == 1


async def test_a_database_that_is_not_prepared_or_away_is_told_in_a_sentence(
    empty_database: Settings, tmp_path: Path
) -> None:
    operator = Operator(empty_database, tmp_path)
    for verb in (["list"], ["create", "render"], ["revoke", "render"]):
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, "keys", *verb, env=operator.env, cwd=tmp_path,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        done = await ended(process)
        assert done.code == 1 and "teamcache-gateway migrate" in done.errors
    away = await operator.keys("list", DB_HOST="127.0.0.1", DB_PORT="1")
    assert away.code == 1 and "Cannot reach PostgreSQL at 127.0.0.1:1" in away.errors


async def test_the_secret_is_no_argument_of_any_process(operator: Operator, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "keys", "create", "render", env=operator.env, cwd=tmp_path,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    done = await ended(process)
    secret = done.output.strip()
    assert is_secret(secret) and secret.encode() not in arguments
    assert secret not in done.errors
    for verb in ([], ["create"], ["list"], ["revoke"], ["disable"], ["enable"]):
        shown = await operator.keys(*verb, "--help")
        assert shown.code == 0 and not re.search(r"tcg_\w{8}", shown.output)
        assert "--db-password" not in shown.output
