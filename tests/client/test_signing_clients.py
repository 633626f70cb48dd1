"""The client and the commands sign, and what they are told when that is not taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway import GatewayClient, GatewayClientError, SigningKey
from gateway.auth.key_store import KeyStore
from gateway.cli.client_settings import load_client_settings
from gateway.cli.credentials import Signing
from gateway.database import Database
from gateway.errors import Unavailable
from gateway.settings import Settings
from support.cli_kit import User
from support.database import StartApi
from support.index_rows import add_files, run
from support.key_kit import change_key
from support.key_operator import Operator
from support.signing_kit import NAME, Signer, knowing, make_signer

PATIENCE = 30.0


@pytest.fixture
async def signer(database_settings: Settings) -> Signer:
    add_files(database_settings, ["a/1.mov", "a/ü.mov"])
    return await make_signer(database_settings)


@pytest.fixture
async def api(start_api: StartApi, signer: Signer) -> Any:
    return await knowing(await start_api(), signer)


@pytest.fixture
async def client(api: Any, signer: Signer) -> AsyncIterator[GatewayClient]:
    key = SigningKey(NAME, signer.private)
    async with GatewayClient(str(api.make_url("")), signing_key=key) as opened:
        yield opened


async def test_the_client_does_everything_with_a_signing_key(client: GatewayClient) -> None:
    job = await client.submit(files=["a/1.mov", "a/ü.mov"], idempotency_key='say "no"')
    again = await client.submit(files=["a/1.mov", "a/ü.mov"], idempotency_key='say "no"')
    assert again.id == job.id
    assert (await client.status(job.id)).submitted_by == NAME
    assert (await client.jobs(status="pending"))[1] == 1
    assert (await client.files(job.id, limit=1, offset=1))[1] == 2
    [found] = await client.resolve(["a/ü.mov"])
    assert (found.path, found.error) == ("a/ü.mov", None)
    changes = client.watch(job.id)
    assert (await anext(changes)).job.id == job.id
    await client.cancel(job.id)
    async with asyncio.timeout(PATIENCE):
        assert [change.job.status async for change in changes][-1] == "cancelled"


async def test_what_says_what_a_request_means_is_covered(aiohttp_server: Any) -> None:
    seen: list[str] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(request.headers["Signature-Input"])
        return web.json_response({}, status=418)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", note)
    url = str((await aiohttp_server(app)).make_url(""))
    key = SigningKey("farm", Ed25519PrivateKey.generate())
    async with GatewayClient(url, signing_key=key) as client:
        for call in (client.submit(files=["a"]), client.jobs()):
            with pytest.raises(GatewayClientError):
                await call
    parts = '"@method" "@authority" "@path" "@query"'
    assert seen[0].startswith(
        f'sig=({parts} "content-type" "idempotency-key" "content-digest");created='
    )
    assert seen[1].startswith(f"sig=({parts});created=")


async def test_each_request_has_a_nonce_of_its_own(
    client: GatewayClient, database_settings: Settings
) -> None:
    for _ in range(3):
        await client.resolve(["a"])
    [row] = run(database_settings, "SELECT count(*) AS n FROM teamcache_gateway.signature_nonces")
    assert row.n == 3


async def test_a_client_whose_key_was_taken_back_is_told_so(
    client: GatewayClient, database_settings: Settings
) -> None:
    await change_key(database_settings, "disable", NAME)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(GatewayClientError, match='The API key "farm" is disabled') as refused:
            while True:
                await client.jobs()
    assert refused.value.status == 401


async def test_a_key_that_cannot_be_sent_is_told_of(client: GatewayClient) -> None:
    with pytest.raises(GatewayClientError, match="The request cannot be"):
        await client.submit(files=["a/1.mov"], idempotency_key="schlüssel")


# The commands


def write_key(private: Ed25519PrivateKey, path: Path) -> Path:
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.fixture
def user(api: Any, signer: Signer, tmp_path: Path) -> User:
    write_key(signer.private, tmp_path / "farm.key")
    return User(str(api.make_url("")), tmp_path, {"TEAMCACHE_API_KEY": ""})


def keep(user: User, text: str) -> None:
    folder = user.home / ".config" / "teamcache-gateway"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "client.toml").write_text(text)


async def test_the_commands_sign_as_flags_environment_or_the_users_file_say(user: User) -> None:
    key = user.home / "farm.key"
    flags = ("--signing-key", str(key), "--key-id", NAME)
    assert (await user.run("jobs", "--json", *flags)).json()["total"] == 0
    done = await user.run("submit", "a/1.mov", *flags)
    assert done.code == 0, done.errors
    told = {"TEAMCACHE_SIGNING_KEY": str(key), "TEAMCACHE_KEY_ID": NAME}
    by_environment = User(user.url, user.home, user.more | told)
    assert (await by_environment.run("jobs", "--json")).json()["total"] == 1
    keep(user, f'signing_key = "~/farm.key"\nkey_id = "{NAME}"\n')
    assert (await user.run("jobs", "--json")).json()["total"] == 1


async def test_smoke_signs_too(user: User) -> None:
    key = str(user.home / "farm.key")
    done = await user.run("smoke", "--signing-key", key, "--key-id", NAME)
    assert done.code == 0, done.output + done.errors


async def test_a_refused_signature_is_told_with_the_key_that_made_it(user: User) -> None:
    key = write_key(Ed25519PrivateKey.generate(), user.home / "other.key")
    done = await user.run("jobs", "--signing-key", str(key), "--key-id", NAME)
    assert (done.code, done.errors) == (
        5,
        "Error: The signature is not that of its key for this request\n"
        f"The request was signed with {key} as farm.\n",
    )


@pytest.mark.parametrize(
    ("flags", "environ", "says"),
    [
        ({"key_file": "k", "signing_key": "s"}, {}, "--key-file and --signing-key exclude"),
        ({}, {"TEAMCACHE_API_KEY": "k", "TEAMCACHE_SIGNING_KEY": "s"}, "exclude each other"),
        ({"signing_key": "farm.key"}, {}, "needs the name that it was made with: --key-id"),
        ({"signing_key": "missing", "key_id": "x"}, {}, "missing cannot be used: .*No such file"),
        ({"signing_key": "farm.pub", "key_id": "x"}, {}, "cannot be used: This is no private key"),
    ],
)
def test_what_cannot_sign_is_said_before_anything_is_sent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: dict[str, str],
    environ: dict[str, str],
    says: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    private = Ed25519PrivateKey.generate()
    write_key(private, tmp_path / "farm.key")
    public = private.public_key()
    (tmp_path / "farm.pub").write_bytes(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    given: dict[str, Any] = {n: Path(v) if n != "key_id" else v for n, v in flags.items()}
    with pytest.raises(click.UsageError, match=says):
        load_client_settings(None, given.pop("key_file", None), environ, **given)


def test_the_nearer_place_decides_which_kind_of_key_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    signing = write_key(Ed25519PrivateKey.generate(), tmp_path / "farm.key")
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    told = {"TEAMCACHE_SIGNING_KEY": str(signing), "TEAMCACHE_KEY_ID": NAME, "API_GATEWAY_KEY": "s"}
    found = load_client_settings(None, None, told)
    assert found.key is None and isinstance(found.credentials, Signing)
    assert found.credentials.key.key_id == NAME
    found = load_client_settings(None, secret, told)
    assert found.credentials is None and found.key and found.key.value == "a secret"
    found = load_client_settings(
        None, None, {"TEAMCACHE_API_KEY": "s"}, None, None, signing, "other"
    )
    assert found.key is None and isinstance(found.credentials, Signing)
    assert found.credentials.key.key_id == "other"


# Keys are made, listed and taken back by an operator


def write_public(signer: Signer, path: Path) -> str:
    key = signer.private.public_key()
    path.write_bytes(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" me@studio\n")
    return str(path)


async def test_an_operator_makes_a_key_that_signs_and_sees_its_fingerprint(
    start_api: StartApi,
    operator: Operator,
    tmp_path: Path,
) -> None:
    mam = Signer("mam")
    public = write_public(mam, tmp_path / "mam.pub")
    done = await operator.keys("create", "mam", "--public-key", public, "--path", "00_Media")
    assert done.code == 0, done.errors
    assert done.errors.splitlines()[-1].endswith("Its requests are signed by:")
    shown = done.output.strip()
    assert shown.startswith("SHA256:") and len(shown) == 50
    [listed] = await operator.listed()
    assert (listed["fingerprint"], listed["paths"]) == (shown, ["00_Media"])
    header, row = (await operator.keys("list")).output.splitlines()
    assert header.endswith("SIGNS AS") and row.endswith(shown)
    assert operator.audited()[-1]["fingerprint"] == shown
    answer = (await operator.keys("create", "two", "--public-key", public, "--json")).json()
    assert (answer["key"], answer["fingerprint"]) == (None, shown)
    api = await knowing(await start_api(), mam)
    async with GatewayClient(
        str(api.make_url("")), signing_key=SigningKey("mam", mam.private)
    ) as client:
        await client.jobs()
        assert (await operator.keys("revoke", "mam")).code == 0
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(GatewayClientError, match='The API key "mam" was revoked'):
                while True:
                    await client.jobs()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("mam", b"nonsense", "This is no public key"),
        ("schlüssel", None, "The name of a key that signs must be ASCII"),
    ],
)
async def test_a_key_that_cannot_sign_is_not_made(
    operator: Operator,
    tmp_path: Path,
    name: str,
    text: bytes | None,
    says: str,
) -> None:
    public = write_public(Signer(), tmp_path / "key.pub")
    if text is not None:
        (tmp_path / "key.pub").write_bytes(text)
    done = await operator.keys("create", name, "--public-key", public)
    assert done.code == 1 and says in done.errors
    assert await operator.listed() == []


async def test_a_public_key_that_is_not_there_is_named(
    operator: Operator,
) -> None:
    done = await operator.keys("create", "mam", "--public-key", "missing.pub")
    assert done.code == 2 and "missing.pub" in done.errors


async def test_a_database_of_an_older_gateway_is_to_be_migrated_first(
    database_settings: Settings,
) -> None:
    async with Database(database_settings) as database:
        await KeyStore(database).check()
        run(database_settings, "ALTER TABLE teamcache_gateway.api_keys DROP COLUMN public_key")
        with pytest.raises(Unavailable, match="not prepared yet"):
            await KeyStore(database).check()
