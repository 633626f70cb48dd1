"""Every setting as an option of the command line, from the one table of settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from gateway.errors import SettingsError
from gateway.logs.logging import configure_logging
from gateway.settings import Settings

API = (
    *("api_gateway_", "tls_", "hsts_", "api_key_file", "allow_demo_key", "cors_", "rate_", "poll_"),
    *("public_metrics", "isolate_callers", "trusted_", "jwt_", "max_connections", "shutdown_"),
)
DATABASE = ("db_",)
FILESPACE = ("container_", "filespaces", "allowed_paths")
WATCHED = ("backend_", "s3_")
WORKER = ("worker_", "cache_progress_", "shutdown_")
INDEX = ("index_",)
LOGS = ("log_",)
AUDIT = ("audit_",)

Command = Callable[..., Any]


def settings_options(
    *prefixes: str, leave_out: tuple[str, ...] = ()
) -> Callable[[Command], Command]:
    """Give a command the settings whose names start so, and load them into ``settings``.

    Secrets are no options: a command line can be read by everybody on the machine.
    """
    fields = {
        name: field
        for name, field in Settings.model_fields.items()
        if name.startswith(prefixes)
        and not isinstance(field.default, SecretStr)
        and name not in leave_out
    }

    def decorate(command: Command) -> Command:
        @wraps(command)
        def wrapped(config: Path | None, **arguments: Any) -> Any:
            overrides = {name: arguments.pop(name) for name in fields}
            try:
                settings = Settings.load(config, overrides)
            except SettingsError as error:
                raise click.UsageError(error.message) from None
            configure_logging(settings)
            return command(settings=settings, **arguments)

        decorated: Command = wrapped
        for name, field in reversed(fields.items()):
            decorated = _option(name, field)(decorated)
        return click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            help="TOML file with settings [default: config.toml here, if there is one]",
        )(decorated)

    return decorate


def _option(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    flag = "--" + name.replace("_", "-")
    shown = field.default
    if isinstance(shown, tuple):
        shown = ",".join(shown)
    text = f"{field.description} [default: {shown}]" if shown != "" else field.description
    if isinstance(field.default, bool):
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    metavar = "JSON" if name == "filespaces" else "VALUE"
    return click.option(flag, name, default=None, metavar=metavar, help=text)
