"""What proves who a user is: flags, then the environment, then the user's own file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from gateway.client import GatewayClientError, SigningKey
from gateway.client.credentials import is_token

API_KEY: Final = "api_key"
TOKEN: Final = "token"  # noqa: S105 - the name of a proof
SIGNING_KEY: Final = "signing_key"
# Of each proof: the option that names its file, the variable and the name in the user's own file.
OPTIONS: Final = {API_KEY: "--key-file", TOKEN: "--token-file", SIGNING_KEY: "--signing-key"}
VARIABLES: Final = {
    API_KEY: "TEAMCACHE_API_KEY", TOKEN: "TEAMCACHE_TOKEN", SIGNING_KEY: "TEAMCACHE_SIGNING_KEY",
}  # fmt: skip
ID_VARIABLE: Final = "TEAMCACHE_KEY_ID"
WANTS_ID: Final = f"A signing key needs the name that it was made with: --key-id, {ID_VARIABLE}, or"


@dataclass(frozen=True, slots=True)
class Signing:
    """The key to sign with, and the words for where it came from."""

    key: SigningKey
    source: str


@dataclass(frozen=True, slots=True)
class ShownToken:
    """A token, and the words for where it came from."""

    read: Callable[[], str]
    source: str

    async def fresh(self) -> str:
        """As it is now: somebody may keep a file full. Raises `click.UsageError`."""
        return self.read()


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says of proofs."""

    key_file: Path | None = None
    token_file: Path | None = None
    signing_key: Path | None = None
    key_id: str | None = None


def choose_credentials(
    flags: Flags, environ: Mapping[str, str], kept: Mapping[str, str], file: str
) -> ShownToken | Signing | None:
    """The token to show, or the key to sign with; None where an API key is shown.

    ``kept`` is what the user's own file holds, ``file`` its name. Of the three places the first
    that names a proof of any kind decides. Raises `click.UsageError`.
    """
    places = (
        (_named(flags), OPTIONS, ""),
        (environ, VARIABLES, ""),
        (kept, {kind: kind for kind in OPTIONS}, f"In {file} "),
    )
    for place, names, begin in places:
        values = {kind: place.get(name, "").strip() for kind, name in names.items()}
        kind = _only({one: bool(value) for one, value in values.items()}, names, begin)
        if kind == TOKEN and names is OPTIONS:
            return _token_in_file(Path(values[TOKEN]))
        if kind == TOKEN:
            source = f"the environment's {VARIABLES[TOKEN]}" if names is VARIABLES else file
            return _known(values[TOKEN], source)
        if kind == SIGNING_KEY:
            return _signing(Path(values[SIGNING_KEY]), flags, environ, kept, file)
        if kind == API_KEY:
            break
    return None


def _named(flags: Flags) -> Mapping[str, str]:
    files = (flags.key_file, flags.token_file, flags.signing_key)
    return {OPTIONS[kind]: str(file or "") for kind, file in zip(OPTIONS, files, strict=True)}


def _only(given: Mapping[str, bool], names: Mapping[str, str], begin: str = "") -> str | None:
    """The kind of proof that a place names, if one. Raises `click.UsageError` for several."""
    kinds = [kind for kind, is_given in given.items() if is_given]
    if len(kinds) > 1:
        first, second = (names[kind] for kind in kinds[:2])
        raise click.UsageError(f"{begin}{first} and {second} exclude each other")
    return kinds[0] if kinds else None


def _known(token: str, source: str) -> ShownToken:
    return _checked(ShownToken(lambda: token, source))


def _token_in_file(file: Path) -> ShownToken:
    if str(file) == "-":
        return _known(first_line(file, "token"), "standard input")
    return _checked(ShownToken(lambda: first_line(file, "token"), str(file)))


def _checked(token: ShownToken) -> ShownToken:
    if not is_token(token.read()):
        raise click.UsageError(
            f"The token from {token.source} holds characters that no token can have"
        )
    return token


def _signing(
    path: Path, flags: Flags, environ: Mapping[str, str], kept: Mapping[str, str], file: str
) -> Signing:
    key_id = flags.key_id or environ.get(ID_VARIABLE, "").strip() or kept.get("key_id")
    if not key_id:
        raise click.UsageError(f"{WANTS_ID} key_id in {file}")
    path = path.expanduser()
    try:
        return Signing(SigningKey.load(path, key_id), f"{path} as {key_id}")
    except GatewayClientError as error:
        raise click.UsageError(f"The signing key {path} cannot be used: {error}") from None


def first_line(file: Path, what: str) -> str:
    """The first line of ``file`` that says something; of standard input if that is ``-``.

    Raises `click.UsageError`.
    """
    source = "standard input" if str(file) == "-" else str(file)
    try:
        text = sys.stdin.readline() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise click.UsageError(f"The {what} cannot be read from {source}: {reason}") from None
    lines = text.strip().splitlines()
    if not lines:
        raise click.UsageError(f"There is no {what} in {source}")
    return lines[0].strip()
