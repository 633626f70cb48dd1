"""What the commands that use a gateway share: their options, the client, and how they end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from gateway.cli.client_settings import ClientSettings, load_client_settings
from gateway.cli.credentials import ShownToken, Signing
from gateway.cli.error_messages import tell
from gateway.cli.exit_codes import ExitCode
from gateway.cli.formatting import say, write_what_can_be_shown
from gateway.client import GatewayClient, GatewayClientError

Command = Callable[..., Any]
Work = Callable[..., Awaitable[ExitCode | None]]


@dataclass(frozen=True, slots=True)
class Connection:
    """What a command works with. ``as_json``: what it prints is for programs."""

    client: GatewayClient
    settings: ClientSettings
    as_json: bool


def client_command(work: Work) -> Command:
    """Give a coroutine the options of a connection, and run it as a command.

    It gets the `Connection` first. Its result is the exit code, None is 0.
    """

    @wraps(work)
    def wrapped(
        url: str | None,
        key_file: Path | None,
        ca_file: Path | None,
        token_file: Path | None,
        signing_key: Path | None,
        key_id: str | None,
        as_json: bool,
        **options: Any,
    ) -> None:
        write_what_can_be_shown()
        settings = load_client_settings(
            url,
            key_file,
            ca_file=ca_file,
            token_file=token_file,
            signing_key=signing_key,
            key_id=key_id,
        )
        sys.exit(_end_of(lambda: asyncio.run(_connected(work, settings, as_json, options))))

    decorated: Command = wrapped
    for option in (_JSON, _CA_FILE, _KEY_ID, _SIGNING_KEY, _TOKEN_FILE, _KEY_FILE, _URL):
        decorated = option(decorated)
    return decorated


_URL = click.option(
    "--url",
    "--server",
    "url",
    metavar="URL",
    help="where the gateway is  [TEAMCACHE_URL; default: http://localhost:8095]",
)
# A key on the command line could be read by everybody on the machine: there is no such option.
_KEY_FILE = click.option(
    "--key-file",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="file whose first line is the API key, - for standard input  [TEAMCACHE_API_KEY]",
)
_TOKEN_FILE = click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="file whose first line is a bearer token, in place of a key  [TEAMCACHE_TOKEN]",
)
_SIGNING_KEY = click.option(
    "--signing-key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="private Ed25519 key that signs requests, in place of a key  [TEAMCACHE_SIGNING_KEY]",
)
_KEY_ID = click.option(
    "--key-id",
    metavar="NAME",
    help="name by which the gateway knows the signing key  [TEAMCACHE_KEY_ID]",
)
_CA_FILE = click.option(
    "--ca-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="file with the certificates that alone are believed, for https  [TEAMCACHE_CA_FILE]",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="print JSON, and nothing else")


def _proof_of(settings: ClientSettings) -> dict[str, Any]:
    """What the client is made with, to prove who asks."""
    match settings.credentials:
        case ShownToken():
            return {"token": settings.credentials.fresh}
        case Signing():
            return {"signing_key": settings.credentials.key}
    return {"api_key": settings.key.value if settings.key else ""}


async def _connected(
    work: Work,
    settings: ClientSettings,
    as_json: bool,
    options: dict[str, Any],
) -> ExitCode:
    _cancel_on_sigterm()
    proof = _proof_of(settings)
    try:
        client = GatewayClient(
            settings.url.value, **proof, on_wait=_tell_wait, ssl=settings.trusted
        )
    except GatewayClientError as error:
        raise click.UsageError(f"{error} (it is {settings.url.source})") from None
    async with client:
        try:
            return await work(Connection(client, settings, as_json), **options) or ExitCode(0)
        except GatewayClientError as error:
            return tell(error, settings)


def _cancel_on_sigterm() -> None:
    task = asyncio.current_task()
    # Not every system has signals on its loop, and only the main thread gets any.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGTERM, task.cancel if task else lambda: None
        )


def _tell_wait(seconds: float) -> None:
    say(f"The gateway is busy or has had many requests: it is asked again in {seconds:.0f} s.")


def _end_of(run: Callable[[], ExitCode]) -> ExitCode:
    try:
        return run()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except asyncio.CancelledError:
        return ExitCode.TERMINATED
    except BrokenPipeError:
        # What is still in the buffer must not be complained about at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.BROKEN_PIPE
