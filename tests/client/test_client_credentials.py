"""The client and the commands prove who asks: with a token as with a key, and to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from gateway.cli.client_settings import load_client_settings
from gateway.cli.credentials import ShownToken
from gateway.client import GatewayClient, GatewayClientError
from gateway.http import app_keys
from support.cli_kit import User, write_client_file
from support.client_server import Server, StartServer
from support.index_rows import UNKNOWN_ID
from support.issuer_kit import RunningIssuer, running_issuer

PATIENCE = 30.0


@pytest.fixture
def issuer() -> Iterator[RunningIssuer]:
    with running_issuer() as started:
        yield started


@pytest.fixture
async def server(start_server: StartServer, issuer: RunningIssuer) -> Server:
    started: Server = await start_server(**issuer.settings)
    async with asyncio.timeout(PATIENCE):
        while not started.app[app_keys.JWKS].are_known:
            await asyncio.sleep(0.01)
    return started


async def test_a_token_does_what_a_key_does(server: Server, issuer: RunningIssuer) -> None:
    async with GatewayClient(server.url, token=issuer.token()) as client:
        assert await client.jobs() == ([], 0)
        with pytest.raises(GatewayClientError, match=r"No such job|not found"):
            await anext(client.watch(UNKNOWN_ID))  # the stream knew who asks


async def test_a_fresh_token_is_asked_for_before_each_request(
    server: Server, issuer: RunningIssuer
) -> None:
    tokens = [issuer.token(exp=1), issuer.token()]

    async def fresh() -> str:
        return tokens.pop(0)

    async with GatewayClient(server.url, token=fresh) as client:
        with pytest.raises(GatewayClientError, match="expired"):
            await client.jobs()
        assert await client.jobs() == ([], 0)
    assert tokens == []


def failing(error: Exception) -> Callable[[], Awaitable[str]]:
    async def fresh() -> str:
        raise error

    return fresh


async def nothing() -> Any:
    return None


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("a\r\nX-Evil: 1", "no token can have"),
        ("two words", "no token can have"),
        ("schlüssel", "no token can have"),
        ("", "no token can have"),
        (nothing, "no token can have"),
        (failing(OSError("the provider is away")), "no fresh token: the provider is away"),
        (failing(ValueError("odd")), "no fresh token: odd"),
    ],
)
async def test_what_is_no_token_is_told_and_not_sent(token: Any, says: str) -> None:
    # Nobody listens there: had anything been sent, that would be told.
    async with GatewayClient("http://127.0.0.1:1", token=token) as client:
        with pytest.raises(GatewayClientError, match=says) as told:
            await client.jobs()
    assert "X-Evil" not in str(told.value)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"api_key": "k", "token": "t"},
        {"api_key": "k", "signing_key": object()},
        {"token": "t", "signing_key": object()},
    ],
    ids=" and ".join,
)
async def test_one_proof_is_needed_and_no_more(given: dict[str, Any]) -> None:
    with pytest.raises(GatewayClientError, match="One of an API key, a token and a signing key"):
        GatewayClient("http://127.0.0.1:1", **given)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


def chosen(key_file: Path | None, token_file: Path | None, **environ: str) -> str | None:
    found = load_client_settings(None, key_file, environ, token_file=token_file)
    assert (found.key is None) is (found.credentials is not None)
    return found.credentials.read() if isinstance(found.credentials, ShownToken) else None


def test_of_a_key_and_a_token_the_nearer_one_is_shown(home: Path) -> None:
    (home / "it").write_text("\n typed \n")
    assert chosen(None, None) is None
    write_client_file(home, 'token = "kept"\n')
    assert chosen(None, None) == "kept"
    assert chosen(None, None, TEAMCACHE_API_KEY="key") is None
    assert chosen(None, None, TEAMCACHE_TOKEN="told") == "told"
    assert chosen(home / "it", None, TEAMCACHE_TOKEN="told") is None
    assert chosen(None, home / "it", TEAMCACHE_API_KEY="key") == "typed"


def test_both_in_one_place_exclude_each_other(home: Path) -> None:
    (home / "it").write_text("x")
    with pytest.raises(click.UsageError, match="--key-file and --token-file exclude"):
        chosen(home / "it", home / "it")
    with pytest.raises(click.UsageError, match="TEAMCACHE_API_KEY and TEAMCACHE_TOKEN exclude"):
        chosen(None, None, TEAMCACHE_API_KEY="x", TEAMCACHE_TOKEN="y")
    write_client_file(home, 'token = "x"\napi_key = "y"\n')
    with pytest.raises(click.UsageError, match="api_key and token exclude"):
        chosen(None, None)


def test_a_token_that_is_none_is_told_with_where_it_came_from(home: Path) -> None:
    (home / "it").write_text("two words")
    with pytest.raises(click.UsageError, match=r"token from .*it holds characters"):
        chosen(None, home / "it")
    with pytest.raises(click.UsageError, match=r"token cannot be read from .*none"):
        chosen(None, home / "none")


def test_a_file_that_somebody_keeps_fresh_is_read_anew(home: Path) -> None:
    (home / "it").write_text("first")
    found = load_client_settings(None, None, {}, token_file=home / "it")
    (home / "it").write_text("second")
    assert isinstance(found.credentials, ShownToken)
    assert found.credentials.read() == "second"


async def test_the_commands_show_a_token(
    server: Server, issuer: RunningIssuer, tmp_path: Path
) -> None:
    user = User(server.url, tmp_path, {"TEAMCACHE_API_KEY": ""})
    token = issuer.token()
    assert (await user.run("jobs", "--json", TEAMCACHE_TOKEN=token)).json()["total"] == 0
    done = await user.run("jobs", "--token-file", "-", told=f"{token}\n".encode())
    assert done.code == 0
    smoke = await user.run("smoke", TEAMCACHE_TOKEN=token)
    assert (smoke.code, "✗" in smoke.output) == (0, False), smoke.output
    done = await user.run("jobs", TEAMCACHE_TOKEN="rubbish")
    assert done.code == 5
    assert "The token came from the environment's TEAMCACHE_TOKEN. Set it with" in done.errors
