"""Where the gateway and the key come from, and what is said when nothing good answers there."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import click
import pytest

from gateway.cli.client_settings import Choice, load_client_settings
from gateway.settings import DEMO_KEY
from support.cli_kit import PROGRAM, Answering, User, write_client_file
from support.client_server import KEY, Server

KEPT = 'url = "http://kept:1"\napi_key = "kept"\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


def values(url: str | None, key_file: Path | None, **environ: str) -> tuple[str, str | None]:
    found = load_client_settings(url, key_file, environ)
    return found.url.value, found.key.value if found.key else None


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(home: Path) -> None:
    key_file = home / "key"
    key_file.write_text("\n typed \nmore\n")
    environ = {"TEAMCACHE_URL": "http://told:1", "TEAMCACHE_API_KEY": "told"}
    assert values(None, None) == ("http://localhost:8095", DEMO_KEY)
    write_client_file(home, KEPT)
    assert values(None, None) == ("http://kept:1", "kept")
    assert values(None, None, API_GATEWAY_KEY="server's") == ("http://kept:1", "server's")
    environ |= {"API_GATEWAY_KEY": "server's"}
    assert values(None, None, **environ) == ("http://told:1", "told")
    assert values("http://typed:1", key_file, **environ) == ("http://typed:1", "typed")
    assert values(None, None, TEAMCACHE_URL=" ", TEAMCACHE_API_KEY="") == ("http://kept:1", "kept")


def test_where_each_came_from_is_known(home: Path) -> None:
    write_client_file(home, KEPT)
    found = load_client_settings(None, None, {"TEAMCACHE_API_KEY": "x"})
    assert found.file == "~/.config/teamcache-gateway/client.toml"
    assert found.url.source == "from ~/.config/teamcache-gateway/client.toml"
    assert found.key == Choice("x", "the environment's TEAMCACHE_API_KEY")


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://localhost:8095", DEMO_KEY),
        ("http://127.0.0.5/x", DEMO_KEY),
        ("http://[::1]:8095", DEMO_KEY),
        ("http://gateway:8095", None),
        ("http://10.0.0.1", None),
        ("nonsense", None),
        ("http://[", None),
    ],
)
def test_the_demo_key_is_shown_to_this_machine_only(home: Path, url: str, key: str | None) -> None:
    assert values(url, None) == (url, key)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("url = ", "is no TOML"),
        ("\udcff", "is no TOML"),
        ("url = 5", "url in .* must be a text in quotes"),
        (
            'api-key = "x"',
            "may hold url, api_key, token, signing_key, key_id, ca_file, but not 'api-key'",
        ),
        ('api_key = "a\\nb"', "holds characters that no key can have"),
        ('api_key = "schlüssel"', "holds characters that no key can have"),
    ],
)
def test_a_file_that_is_wrong_is_named(home: Path, text: str, says: str) -> None:
    write_client_file(home, text)
    with pytest.raises(click.UsageError, match=says) as wrong:
        load_client_settings(None, None, {})
    assert "client.toml" in wrong.value.message


def test_a_key_file_that_is_wrong_is_named(home: Path) -> None:
    (home / "empty").write_text("\n\n")
    (home / "binary").write_bytes(b"\xff\xfe\x00")
    reasons = {"missing": "No such file", "empty": "no API key in", "binary": "it is no text"}
    for name, says in reasons.items():
        with pytest.raises(click.UsageError, match=says):
            load_client_settings(None, home / name, {})


async def test_the_users_file_leads_to_the_gateway(
    server: Server,
    tmp_path: Path,
) -> None:
    write_client_file(tmp_path, f'url = "{server.url}/"\napi_key = "{KEY}"\n')
    user = User("", tmp_path, {"TEAMCACHE_API_KEY": ""})
    assert (await user.run("jobs", "--json")).json() == {"jobs": [], "total": 0}
    done = await user.run("jobs", "--key-file", "-", told=b"wrong\n")
    assert (done.code, done.output) == (5, "")
    assert done.errors == (
        "Error: Invalid or missing API key\n"
        "The key came from standard input. Set it with --key-file, TEAMCACHE_API_KEY,"
        " or as api_key in\n~/.config/teamcache-gateway/client.toml\n"
    )
    assert (await user.run("jobs", "--key-file", "-", told=f"{KEY}\r\n".encode())).code == 0
    assert (await user.run("jobs", "--server", server.url)).code == 0


async def test_a_key_is_no_option_as_everybody_could_read_it(tmp_path: Path) -> None:
    done = await User("http://127.0.0.1:1", tmp_path).run("jobs", "--key", "secret")
    assert done.code == 2
    assert "--key-file" in done.errors


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("http://127.0.0.1:1", 4, "No gateway answers at http://127.0.0.1:1: connection refused"),
        ("http://nowhere.invalid", 4, "the name of the machine is not known"),
        ("localhost:8095", 2, "localhost:8095 is no URL like http://localhost:8095"),
        ("ftp://x", 2, "it is from the environment's TEAMCACHE_URL"),
        ("http://x:99999999", 2, "is no URL like"),
        ("http://u:secret@x", 2, "a password before an @ is not taken"),
    ],
)
async def test_nobody_at_the_url_is_told_with_the_url(
    tmp_path: Path, url: str, code: int, says: str
) -> None:
    done = await User(url, tmp_path).run("jobs", "--json")
    assert (done.code, done.output) == (code, "")
    assert says in done.errors


GARBAGE = {
    "a page": (200, "<html>hello</html>", 4, "What answers at .* is no gateway"),
    "a page that is not found": (404, "<html>", 4, "is no gateway"),
    "a proxy without a gateway": (502, "<html>", 4, "cannot do its work now: a proxy says 502"),
    "another service": (200, {"hello": 1}, 4, "is no gateway"),
    "a list": (200, [1, 2], 4, "is no gateway"),
    "wrong types": (200, {"jobs": [{"id": 5}], "total": "x"}, 4, "is no gateway"),
    "a failure": (500, {"success": False, "error": "Internal server error"}, 1, "Internal server"),
    "away": (503, {"success": False, "error": "Starting"}, 4, "cannot do its work now: Starting"),
    "forbidden": (403, {"success": False, "error": "Not \x1b[1myou"}, 5, r"Not \\x1b\[1myou"),
    "too much": (413, {"error": "Too large", "details": ["\x07", {"path": "\n"}]}, 5, r"\\x07"),
}


@pytest.mark.parametrize(("status", "body", "code", "says"), GARBAGE.values(), ids=GARBAGE)
async def test_whatever_answers_one_sentence_says_what_is_wrong(
    aiohttp_server: Any, tmp_path: Path, status: int, body: Any, code: int, says: str
) -> None:
    server = Answering(aiohttp_server)
    server.answers["GET /api/v1/cache/jobs"] = (status, body)
    done = await User(await server.start(), tmp_path).run("jobs", "--json")
    assert (done.code, done.output) == (code, "")
    assert "\x1b" not in done.errors
    assert re.search(says, done.errors), done.errors


async def test_a_url_too_far_in_is_told_where_it_should_end(
    server: Server,
    tmp_path: Path,
) -> None:
    url = f"{server.url}/api/v1"
    done = await User(url, tmp_path).run("jobs")
    assert done.code == 5
    assert done.errors.startswith(
        f"Error: No gateway's routes begin at {url}: Not found\nIt is what"
    )
    assert "before /api/v1" in (await User(url, tmp_path).run("resolve", "x")).errors


async def test_output_that_cannot_be_written_is_told_in_a_sentence(
    server: Server,
    tmp_path: Path,
) -> None:
    for arguments in (("jobs", "--json"), ("--help",)):
        with Path("/dev/full").open("wb") as full:
            process = await asyncio.create_subprocess_exec(
                *PROGRAM, *arguments, env=User(server.url, tmp_path).env, stdout=full,
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, errors = await process.communicate()
        assert errors == b"Error: Standard output cannot be written: No space left on device\n"
        assert process.returncode == 1


async def test_being_told_to_wait_is_told(aiohttp_server: Any, tmp_path: Path) -> None:
    server = Answering(aiohttp_server)
    answers = iter([(429, {"error": "Too many"}), (200, {"jobs": [], "total": 0})])
    server.answers["GET /api/v1/cache/jobs"] = (0, lambda _body: next(answers))
    done = await User(await server.start(), tmp_path).run("jobs")
    assert done.code == 0
    assert "many requests: it is asked again in 1 s.\n" in done.errors


async def test_without_any_home_the_defaults_serve(tmp_path: Path) -> None:
    user = User("http://127.0.0.1:1", tmp_path, {"HOME": "/nonexistent"})
    assert (await user.run("jobs")).code == 4
