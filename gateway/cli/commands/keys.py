"""``keys``: API keys, each for somebody and for something."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click

from gateway.auth.callers import Scope
from gateway.auth.key_store import KeyStore, NewKey
from gateway.auth.public_keys import fingerprint, read_public_key
from gateway.cli.formatting import print_json, printable, say, write_what_can_be_shown
from gateway.cli.key_options import MAX_PER_MINUTE, SCOPES, USUAL_SCOPES, ExpiryTime
from gateway.cli.key_view import describe, print_keys
from gateway.cli.settings_options import AUDIT, DATABASE, FILESPACE, LOGS, settings_options
from gateway.database import Database, describe_outage
from gateway.errors import DatabaseUnavailable, GatewayError, InvalidRequest, KeyNotFound
from gateway.logs.audit import AuditLog, Outcome
from gateway.runtime.process import run
from gateway.runtime.small_file import MAX_FILE_BYTES
from gateway.settings import Settings
from gateway.settings.filespaces import make_filespaces
from gateway.standalone.postgres.running import find_running

Command = Callable[..., Any]
Result = TypeVar("Result")
LIMIT = click.IntRange(0, MAX_PER_MINUTE)
LEFT_OUT = ("allowed_paths",)
# These are the caller's own faults, as a wrong option is.
FAULTS = (InvalidRequest, KeyNotFound)


@click.group()
def command() -> None:
    """Make, list and revoke API keys. Running gateways hear of it at once.

    The keys are in the gateway's database, which DB_HOST, DB_PASSWORD and the others lead to, or
    the --data-dir of a running standalone gateway. API_GATEWAY_KEY is beside them, and may do all.

    \b
    Examples:
      teamcache-gateway keys create render-farm --path 00_Media --rate 60 --expires 90d
      teamcache-gateway keys create grafana --scope metrics:read
      teamcache-gateway keys create mam --public-key mam.pub
      teamcache-gateway keys list
      teamcache-gateway keys revoke render-farm
    """


def key_command(*more: str) -> Callable[[Command], Command]:
    """Give a command the settings that lead to the keys, in ``settings``; its faults are told."""

    def decorate(work: Command) -> Command:
        @wraps(work)
        def wrapped(settings: Settings, data_dir: Path | None, **options: Any) -> None:
            write_what_can_be_shown()
            if data_dir is not None:
                host, port = find_running(data_dir)
                settings = settings.model_copy(update={"db_host": host, "db_port": port})
            try:
                work(settings, **options)
            except DatabaseUnavailable as error:
                raise click.ClickException(describe_outage(settings, error)) from None
            except FAULTS as error:
                raise click.ClickException(printable(error.message)) from None

        decorated = click.option(
            "--data-dir",
            type=click.Path(file_okay=False, path_type=Path),
            help="data folder of a running standalone gateway, whose keys are meant",
        )(wrapped)
        return settings_options(*DATABASE, *more, *LOGS, leave_out=LEFT_OUT)(decorated)

    return decorate


@command.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    default=USUAL_SCOPES,
    show_default=True,
    help="what it is for; may be given several times",
)
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="PREFIX",
    help="folder, relative to the filespace, that alone it may cache; may be given several times",
)
@click.option("--rate", type=LIMIT, help="its RATE_LIMIT_PER_MINUTE; 0: no limit")
@click.option("--poll-rate", type=LIMIT, help="its POLL_LIMIT_PER_MINUTE; 0: no limit")
@click.option("--expires", type=ExpiryTime(), metavar="WHEN", help="like 90d, 12h or 2027-01-31")
@click.option(
    "--public-key",
    type=click.File("rb"),
    metavar="FILE",
    help="Ed25519 key whose owner signs requests, in place of a secret: PEM, OpenSSH or base64",
)
@click.option("--json", "as_json", is_flag=True, help="print the key and what it is for as JSON")
@key_command(*FILESPACE, *AUDIT)
def create(
    settings: Settings,
    *,
    name: str,
    scopes: Sequence[str],
    paths: Sequence[str],
    rate: int | None,
    poll_rate: int | None,
    expires: datetime | None,
    public_key: BinaryIO | None,
    as_json: bool,
) -> None:
    """Make a key called NAME, and print it: this once, as only its digest is kept.

    With --public-key there is no secret: whoever has the private key signs his requests as NAME,
    and the key's fingerprint is printed.
    """
    # A prefix that cannot be read would keep the key out of everything.
    make_filespaces(settings).read_prefixes(paths)
    wanted = [scope for scope in Scope if scope in scopes]
    public = read_public_key(public_key.read(MAX_FILE_BYTES)) if public_key else None
    key = NewKey(name, wanted, tuple(dict.fromkeys(paths)), rate, poll_rate, expires, public)
    shown = fingerprint(public) if public else None
    more = {"scopes": wanted, "paths": list(paths), "expiresAt": expires, "fingerprint": shown}
    secret = _audited(
        settings, "key.create", "created", name, lambda store: store.create(key), more
    )
    if as_json:
        print_json({**describe(key), "key": secret})
        return
    what = f"The key {printable(name)} is for {', '.join(wanted)}."
    say(f"{what} Its requests are signed by:" if shown else f"{what} It is shown this once:")
    click.echo(shown or secret)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="print JSON, one document")
@key_command()
def list_(settings: Settings, *, as_json: bool) -> None:
    """List the keys that there are and were. Of their secrets nothing is known."""
    records = run(_with_store(settings, lambda store: store.all()))
    now = datetime.now(UTC)
    if as_json:
        print_json({"keys": [describe(record, record.state(now)) for record in records]})
    elif records:
        print_keys(records, now)
    else:
        say("There are no keys but API_GATEWAY_KEY.")


def _changing(
    verb: str, changed: str, change: Callable[[KeyStore, str], Awaitable[None]], explained: str
) -> click.Command:
    """A command that changes what the key NAME opens; ``changed`` is what the key is then."""

    @click.command(verb, help=explained)
    @click.argument("name")
    @key_command(*AUDIT)
    def changing(settings: Settings, *, name: str) -> None:
        _audited(settings, f"key.{verb}", "done", name, lambda store: change(store, name))
        say(f"The key {printable(name)} is {changed}.")

    return changing


for _changer in (
    _changing(
        "revoke",
        "revoked",
        KeyStore.revoke,
        "Let the key NAME open nothing any more. Its name is not given again.",
    ),
    _changing(
        "disable",
        "disabled",
        KeyStore.disable,
        "Let the key NAME open nothing until it is enabled again.",
    ),
    _changing(
        "enable",
        "enabled",
        KeyStore.enable,
        "Let the key NAME open again what it did before it was disabled.",
    ),
):
    command.add_command(_changer)


def _audited(
    settings: Settings,
    event: str,
    outcome: Outcome,
    name: str,
    verb: Callable[[KeyStore], Awaitable[Result]],
    more: dict[str, Any] | None = None,
) -> Result:
    """Do it, and write down who did, or tried to, on which machine."""
    with closing(AuditLog(settings.audit_log)) as audit:
        written = {"key": name, **(more or {})}
        try:
            result = run(_with_store(settings, verb))
        except GatewayError as error:
            ended: Outcome = "refused" if isinstance(error, FAULTS) else "failed"
            audit.write(event, ended, _user(), socket.gethostname(), **written, error=error.message)
            raise
        audit.write(event, outcome, _user(), socket.gethostname(), **written)
    return result


async def _with_store(settings: Settings, verb: Callable[[KeyStore], Awaitable[Result]]) -> Result:
    async with Database(settings) as database:
        store = KeyStore(database)
        await store.check()
        return await verb(store)


def _user() -> str:
    """Who runs the command; an account without a name has none."""
    with suppress(KeyError, OSError):
        return f"user {getpass.getuser()}"
    return "user unknown"
