"""Which gateway to speak to, and with which key: flags, then environment, then the user's file."""

from __future__ import annotations

import os
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
import platformdirs

from gateway.cli.credentials import Flags, ShownToken, Signing, choose_credentials, first_line
from gateway.settings import DEMO_KEY

DEFAULT_URL: Final = "http://localhost:8095"
NAMES: Final = ("url", "api_key", "token", "signing_key", "key_id", "ca_file")


@dataclass(frozen=True, slots=True)
class Choice:
    """A value, and the words for where it came from."""

    value: str
    source: str


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The gateway's URL and the key to show; ``file`` names where both can be kept.

    ``proof`` stands in place of the key: a token to show, or a key to sign requests with.
    ``trusted``: whose certificates are believed; None for those of the system.
    """

    url: Choice
    key: Choice | None
    file: str
    trusted: ssl.SSLContext | None = None
    credentials: ShownToken | Signing | None = None


def client_file() -> Path:
    """The user's own file of settings, which need not exist."""
    return platformdirs.user_config_path("teamcache-gateway") / "client.toml"


def load_client_settings(
    url: str | None,
    key_file: Path | None,
    environ: Mapping[str, str] = os.environ,
    ca_file: Path | None = None,
    token_file: Path | None = None,
    signing_key: Path | None = None,
    key_id: str | None = None,
) -> ClientSettings:
    """The settings in force. Raises `click.UsageError` for what cannot be used."""
    path = client_file()
    kept = _read_file(path)
    file = _tilde(path)
    chosen_url = (
        _given(url, "from --url")
        or _given(environ.get("TEAMCACHE_URL"), "from the environment's TEAMCACHE_URL")
        or _given(kept.get("url"), f"from {file}")
        or Choice(DEFAULT_URL, "the default")
    )
    flags = Flags(key_file, token_file, signing_key, key_id)
    proof = choose_credentials(flags, environ, kept, file)
    key = None
    if proof is None:
        key = _choose_key(key_file, environ, kept, file) or _demo_key(chosen_url.value)
    if key is not None and not (key.value.isprintable() and key.value.isascii()):
        raise click.UsageError(
            f"The API key from {key.source} holds characters that no key can have"
        )
    ca_name = _given(environ.get("TEAMCACHE_CA_FILE"), "") or _given(kept.get("ca_file"), "")
    ca_file = ca_file or (Path(ca_name.value) if ca_name else None)
    trusted = _trust(ca_file) if ca_file else None
    return ClientSettings(chosen_url, key, file, trusted, proof)


def _choose_key(
    key_file: Path | None, environ: Mapping[str, str], kept: Mapping[str, str], file: str
) -> Choice | None:
    return (
        _key_in(key_file)
        or _given(environ.get("TEAMCACHE_API_KEY"), "the environment's TEAMCACHE_API_KEY")
        or _given(environ.get("API_GATEWAY_KEY"), "the environment's API_GATEWAY_KEY")
        or _given(kept.get("api_key"), file)
    )


def _trust(ca_file: Path) -> ssl.SSLContext:
    """Believe certificates of the authorities in this file alone."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        reason = "it holds no certificate in PEM"
        if error.strerror and not isinstance(error, ssl.SSLError):
            reason = error.strerror
        raise click.UsageError(f"{ca_file} cannot be used as the CA file: {reason}") from None


def _tilde(path: Path) -> str:
    """The path as people write it."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _given(value: str | None, source: str) -> Choice | None:
    return Choice(value.strip(), source) if value and value.strip() else None


def _key_in(file: Path | None) -> Choice | None:
    """The key on the first line of ``file``; standard input if that is ``-``."""
    if file is None:
        return None
    source = "standard input" if str(file) == "-" else str(file)
    return Choice(first_line(file, "API key"), source)


def _demo_key(url: str) -> Choice | None:
    """The key that everybody knows, for a gateway on this machine that was told of no other."""
    host = urlsplit(url).hostname or "" if "[" not in url or "]" in url else ""
    try:
        is_here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_here = False
    return Choice(DEMO_KEY, "the default, which is the demo's") if is_here else None


def _read_file(file: Path) -> Mapping[str, str]:
    try:
        kept = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise click.UsageError(f"{file} is no TOML: {error}") from None
    for name, value in kept.items():
        if name not in NAMES:
            raise click.UsageError(f"{file} may hold {', '.join(NAMES)}, but not {name!r}")
        if not isinstance(value, str):
            raise click.UsageError(f"{name} in {file} must be a text in quotes")
    return kept
