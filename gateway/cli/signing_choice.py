"""With which private key requests are signed, if with one: flags, environment, the user's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from gateway.client import GatewayClientError, SigningKey

KEY_VARIABLE: Final = "TEAMCACHE_SIGNING_KEY"
SECRET_VARIABLE: Final = "TEAMCACHE_API_KEY"  # noqa: S105 - a variable's name
ID_VARIABLE: Final = "TEAMCACHE_KEY_ID"
WANTS_ID: Final = f"A signing key needs the name that it was made with: --key-id, {ID_VARIABLE}, or"


@dataclass(frozen=True, slots=True)
class Signing:
    """The key, and the words for where it came from."""

    key: SigningKey
    source: str


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says of keys."""

    key_file: Path | None = None
    signing_key: Path | None = None
    key_id: str | None = None


def choose_signing(
    flags: Flags, environ: Mapping[str, str], kept: Mapping[str, str], file: str
) -> Signing | None:
    """The key to sign with; None where an API key is shown. Raises `click.UsageError`.

    ``kept`` is what the user's own file holds, ``file`` its name. Of these places the first that
    names a key of either kind decides.
    """
    places = (
        (flags.key_file, flags.signing_key, "--key-file and --signing-key"),
        (
            environ.get(SECRET_VARIABLE, "").strip(),
            environ.get(KEY_VARIABLE, "").strip(),
            f"{SECRET_VARIABLE} and {KEY_VARIABLE}",
        ),
        (kept.get("api_key"), kept.get("signing_key"), f"In {file} api_key and signing_key"),
    )
    for secret, signing, names in places:
        if secret and signing:
            raise click.UsageError(f"{names} exclude each other")
        if signing:
            return _read(Path(signing).expanduser(), _key_id(flags, environ, kept, file))
        if secret:
            return None
    return None


def _key_id(flags: Flags, environ: Mapping[str, str], kept: Mapping[str, str], file: str) -> str:
    key_id = flags.key_id or environ.get(ID_VARIABLE, "").strip() or kept.get("key_id")
    if not key_id:
        raise click.UsageError(f"{WANTS_ID} key_id in {file}")
    return key_id


def _read(path: Path, key_id: str) -> Signing:
    try:
        return Signing(SigningKey.load(path, key_id), f"{path} as {key_id}")
    except GatewayClientError as error:
        raise click.UsageError(f"The signing key {path} cannot be used: {error}") from None
