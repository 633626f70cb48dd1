"""Which bearer token a user shows, if one: flags, then environment, then the user's own file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from gateway.client_credentials import is_token

TOKEN_VARIABLE: Final = "TEAMCACHE_TOKEN"  # noqa: S105 - a variable's name
KEY_VARIABLE: Final = "TEAMCACHE_API_KEY"


@dataclass(frozen=True, slots=True)
class ShownToken:
    """A token, and the words for where it came from."""

    read: Callable[[], str]
    source: str

    async def fresh(self) -> str:
        """As it is now: somebody may keep a file full. Raises `click.UsageError`."""
        return self.read()


def choose_token(
    flags: tuple[Path | None, Path | None],
    environ: Mapping[str, str],
    kept: Mapping[str, str],
    file: str,
) -> ShownToken | None:
    """The token to show; None where an API key is. Raises `click.UsageError`.

    ``flags`` are the files of the key and of the token, ``kept`` is what the user's own file
    holds, ``file`` its name. Of these places the first that names either decides.
    """
    key_file, token_file = flags
    told = (environ.get(KEY_VARIABLE, "").strip(), environ.get(TOKEN_VARIABLE, "").strip())
    own = (kept.get("api_key", "").strip(), kept.get("token", "").strip())
    places = (
        (key_file, token_file, "--key-file and --token-file"),
        (*told, f"{KEY_VARIABLE} and {TOKEN_VARIABLE}"),
        (*own, f"In {file} api_key and token"),
    )
    for key, token, names in places:
        if key and token:
            raise click.UsageError(f"{names} exclude each other")
        if isinstance(token, Path):
            return _in_file(token)
        if token:
            source = f"the environment's {TOKEN_VARIABLE}" if token == told[1] else file
            return _known(token, source)
        if key:
            return None
    return None


def _known(token: str, source: str) -> ShownToken:
    return _checked(ShownToken(lambda: token, source))


def _in_file(file: Path) -> ShownToken:
    if str(file) == "-":
        return _known(first_line(file, "token"), "standard input")
    return _checked(ShownToken(lambda: first_line(file, "token"), str(file)))


def _checked(token: ShownToken) -> ShownToken:
    if not is_token(token.read()):
        raise click.UsageError(
            f"The token from {token.source} holds characters that no token can have"
        )
    return token


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
