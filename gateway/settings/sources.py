"""Reads settings from a file and the environment, and refuses misspelt names."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway.errors import SettingsError
from gateway.settings.validation_messages import describe_toml

# An unknown variable with one of these prefixes is a misspelling.
OWN_FAMILIES: Final = ("API_GATEWAY_", "CACHE_PROGRESS_")
# Other programs use these prefixes too: only a near miss of a setting's name is refused.
SHARED_FAMILIES: Final = (
    "ALLOWED_", "ALLOW_", "AUDIT_", "BACKEND_", "CONTAINER_", "CORS_", "DB_", "FILESPACE", "HSTS_",
    "INDEX_", "ISOLATE_", "JWT_", "LOG_", "MAX_", "POLL_", "PUBLIC_", "RATE_", "S3_", "SHUTDOWN_",
    "TLS_", "TRUSTED_", "WORKER_",
)  # fmt: skip
# Kubernetes sets these variables in every container for a service called "api-gateway" (or
# "worker", …). Its "<SERVICE>_PORT" may equal the name of a setting; the value distinguishes them.
KUBERNETES_URL: Final = re.compile(r"(tcp|udp|sctp)://")
KUBERNETES_LINK: Final = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP)(_\w+)?$")
# Likely wrong guesses of the name of the API key; other programs may use these names too.
GUESSED_KEY_NAMES: Final = ("API_KEY", "GATEWAY_KEY", "GATEWAY_API_KEY")
CONFIG_FILE_VARIABLE: Final = "API_GATEWAY_CONFIG"

Source = Mapping[str, Any]


def guessed_key_name(environ: Mapping[str, str]) -> str | None:
    """A variable that may be meant as API_GATEWAY_KEY, if that is not set."""
    if environ.get("API_GATEWAY_KEY"):
        return None
    return next((name for name in GUESSED_KEY_NAMES if environ.get(name)), None)


def find_config_file(environ: Mapping[str, str]) -> Path | None:
    """The file that the environment names, or else config.toml in the working directory."""
    if named := environ.get(CONFIG_FILE_VARIABLE):
        return Path(named)
    local = Path("config.toml")
    return local if local.is_file() else None


def read_config_file(path: Path) -> Source:
    """Read a TOML file. Raises `SettingsError`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"Cannot read {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is {describe_toml(error)}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None


def read_environment(environ: Mapping[str, str], names: Mapping[str, Any]) -> Source:
    """The settings among the environment's variables; an empty one counts as not given.

    The API key is the exception: an empty one is refused later, as a key is required.
    """
    environ = {name: value for name, value in environ.items() if not _is_link(name, value)}
    for variable in environ:
        _refuse_misspelling(variable, names)
    return {
        name: environ[name.upper()]
        for name in names
        if environ.get(name.upper()) or (name == "api_gateway_key" and name.upper() in environ)
    }


def _is_link(variable: str, value: str) -> bool:
    if variable.endswith("_PORT") and KUBERNETES_URL.match(value):
        return True
    return KUBERNETES_LINK.search(variable) is not None


def _refuse_misspelling(variable: str, names: Mapping[str, Any]) -> None:
    if variable == CONFIG_FILE_VARIABLE or variable.lower() in names:
        return
    near = difflib.get_close_matches(variable.lower(), names, n=1, cutoff=0.88)
    if variable.startswith(OWN_FAMILIES) or (near and variable.startswith(SHARED_FAMILIES)):
        hint = f", did you mean {near[0].upper()}?" if near else ""
        raise SettingsError(f"Unknown environment variable {variable}{hint}")
