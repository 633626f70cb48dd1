"""Clients of a gateway that speaks HTTPS: whose certificates they believe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.client import GatewayClient, GatewayUnreachable
from support.certificates import Pair, make_pair, serving, tls_settings
from support.cli_kit import User, ended, write_client_file


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    made = make_pair()
    made.write(tmp_path)
    return made


@pytest.fixture
async def url(pair: Pair, tmp_path: Path) -> AsyncIterator[str]:
    async with serving(tls_settings(tmp_path)) as (url, _):
        yield url


async def test_the_client_believes_whom_it_is_told_to(pair: Pair, url: str) -> None:
    async with GatewayClient(url, "key", ssl=pair.trust) as client:
        assert (await client.metrics()).mbps == 0


async def test_the_client_does_not_believe_a_stranger(url: str) -> None:
    async with GatewayClient(url, "key") as client:
        with pytest.raises(GatewayUnreachable, match="certificate verify failed"):
            await client.metrics()


async def test_a_command_says_that_the_certificate_is_not_believed(
    url: str, tmp_path: Path
) -> None:
    done = await User(url, tmp_path).run("health")
    assert done.code == 4
    assert "its certificate is not believed (self-signed certificate)" in done.errors
    assert "--ca-file" in done.errors


@pytest.mark.parametrize("way", ["an option", "the environment", "the user's file"])
async def test_a_command_believes_the_authority_that_is_named(
    url: str, tmp_path: Path, way: str
) -> None:
    file = str(tmp_path / "tls.crt")
    user = User(url, tmp_path)
    if way == "the environment":
        user.more["TEAMCACHE_CA_FILE"] = file
    if way == "the user's file":
        write_client_file(tmp_path, f'ca_file = "{file}"\n')
    done = await user.run("health", *(["--ca-file", file] if way == "an option" else []))
    # It is reached: its database is not.
    assert "cannot do its work now" in done.errors
    smoke = await user.run("smoke", *(["--ca-file", file] if way == "an option" else []))
    assert "certificate" not in smoke.output + smoke.errors
    assert "GET /livez" in smoke.output or "livez" in smoke.output


async def test_a_command_heeds_what_openssl_is_told(url: str, tmp_path: Path) -> None:
    user = User(url, tmp_path, {"SSL_CERT_FILE": str(tmp_path / "tls.crt")})
    done = await ended(await user.start("health"))
    assert "cannot do its work now" in done.errors


@pytest.mark.parametrize(
    ("text", "says"), [(None, "No such file"), ("no PEM", "it holds no certificate in PEM")]
)
async def test_a_ca_file_that_cannot_be_used_is_wrong_usage(
    tmp_path: Path, text: str | None, says: str
) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    done = await User("https://127.0.0.1:1", tmp_path).run("health", "--ca-file", str(file))
    assert done.code == 2
    assert says in done.errors


async def test_http_where_there_is_https_is_told(url: str, tmp_path: Path) -> None:
    done = await User(url.replace("https:", "http:"), tmp_path).run("health")
    assert done.code == 4
    assert done.errors.startswith("Error: No gateway answers at http://")


async def test_https_where_there_is_http_is_told(tmp_path: Path) -> None:
    settings = tls_settings(tmp_path, tls_certificate="", tls_key="")
    async with serving(settings) as (url, _):
        done = await User(url.replace("http:", "https:"), tmp_path).run("health")
    assert done.code == 4
    assert "does not speak TLS" in done.errors
    assert f"If it speaks HTTP, it is {url}\n" in done.errors
