"""Every setting, declared once: its name, type, default, bounds and the reason it exists.

A setting has one name everywhere: ``db_host`` is ``db_host`` in ``config.toml``, ``DB_HOST`` in
the environment and ``--db-host`` on the command line, which win in that order. A wrong value, an
unknown name in the file or on the command line, or a close misspelling of a name in the environment
stops the start with a `SettingsError` that names it.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from gateway.errors import SettingsError
from gateway.filespace_settings import FilespaceList, MountPoint

ONE_DAY: Final = 86_400
MOST_BYTES_PER_SECOND: Final = 10**15
DEMO_KEY: Final = "demo-api-key-2024"
ALL_ADDRESSES: Final = "0.0.0.0"  # noqa: S104 - the demo key alone narrows it to loopback

# A name in one of these families that is no setting is a typing error, not another program's.
OWN_FAMILIES: Final = ("API_GATEWAY_", "CACHE_PROGRESS_")
# These families are shared with other programs: only a near miss of a name of ours is refused.
SHARED_FAMILIES: Final = (
    "ALLOWED_", "ALLOW_", "BACKEND_", "CONTAINER_", "CORS_", "DB_", "FILESPACE", "INDEX_", "LOG_",
    "POLL_", "RATE_", "S3_", "SHUTDOWN_", "WORKER_",
)  # fmt: skip
# Kubernetes describes a service called "api-gateway" (or "worker", …) to every container by these.
# Its "<SERVICE>_PORT" may be the very name of a setting; the value tells them apart.
KUBERNETES_URL: Final = re.compile(r"(tcp|udp|sctp)://")
KUBERNETES_LINK: Final = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP)(_\w+)?$")
# What people call the key who guess its name; other programs may mean something else by these.
GUESSED_KEY_NAMES: Final = ("API_KEY", "GATEWAY_KEY", "GATEWAY_API_KEY")
CONFIG_FILE_VARIABLE: Final = "API_GATEWAY_CONFIG"

Source = Mapping[str, Any]


class Settings(BaseModel):
    """What the gateway can be told. Immutable; see each field's description for units.

    ``Settings(db_host="db")`` takes its arguments alone, for services that embed the gateway;
    `Settings.load` reads the file and the environment too.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    # API
    api_gateway_host: str = Field(
        "", description="address to listen on; empty: all (serve) or 127.0.0.1 (standalone)"
    )
    api_gateway_port: int = Field(8095, ge=0, le=65535, description="port to listen on; 0: any")
    api_gateway_key: SecretStr = Field(
        SecretStr(DEMO_KEY), description="the API key that callers send as X-API-Key"
    )
    allow_demo_key: bool = Field(
        False, description="accept the demo key from other machines too (never in production)"
    )
    api_key_file: str = Field(
        "/config/api-gateway.json",
        description="JSON file whose apiKey replaces the key while it is there; empty: none",
    )
    cors_origins: tuple[str, ...] = Field(
        ("*",), description="origins whose pages may call the API; * for any"
    )
    rate_limit_per_minute: int = Field(
        10,
        ge=0,
        le=1_000_000,
        description="submit, list and cancel requests per caller and minute; 0: no limit",
    )
    poll_limit_per_minute: int = Field(
        120, ge=0, le=1_000_000, description="reads of a job per caller and minute; 0: no limit"
    )
    shutdown_timeout: float = Field(
        10.0, gt=0, le=300, description="seconds that requests and reads in flight get at the end"
    )

    # Database
    db_host: str = Field("postgres", description="host name, address or socket directory")
    db_port: int = Field(5432, ge=1, le=65535, description="port of PostgreSQL")
    db_name: str = Field("teamcache_db", min_length=1, description="name of the database")
    db_user: str = Field("teamcache_user", min_length=1, description="role to connect as")
    db_password: SecretStr = Field(
        SecretStr("teamcache_password"), description="password of that role"
    )
    db_pool_size: int = Field(10, ge=1, le=200, description="connections at most")
    db_connect_timeout: float = Field(
        5.0, gt=0, le=300, description="seconds to wait for a connection"
    )
    db_statement_timeout: float = Field(
        15.0, gt=0, le=ONE_DAY, description="seconds that one statement may take"
    )
    db_submit_timeout: float = Field(
        600.0,
        gt=0,
        le=ONE_DAY,
        description="seconds that creating one job may take (a million files: many)",
    )

    # Filespace
    container_mount_point: MountPoint = Field(
        "/media/lucidlink-1", description="where the filespace is mounted for the gateway"
    )
    filespaces: FilespaceList = Field(
        (), description="name, mount_point and client_roots of each, instead of the one mount point"
    )
    allowed_paths: tuple[str, ...] = Field(
        (), description="prefixes, comma-separated, that alone may be cached; empty: all"
    )

    # Backend
    backend_ws_url: str = Field(
        "", description="WebSocket of the TeamCache backend (ws://backend:3002); empty: none"
    )

    # S3 health
    s3_health_bucket: str = Field("", description="bucket whose health is checked; empty: none")
    s3_region: str = Field("us-east-1", description="region of that bucket")
    s3_endpoint: str = Field("", description="URL of an S3 server that is not AWS; empty: AWS")
    s3_check_interval: int = Field(5000, ge=100, description="milliseconds between two checks")

    # Worker
    cache_progress_file_threshold: int = Field(
        10, ge=1, description="files after which a worker writes progress"
    )
    cache_progress_time_threshold: int = Field(
        2000, ge=100, le=60_000, description="milliseconds after which it does so at the latest"
    )
    worker_concurrency: int = Field(
        64, ge=1, le=128, description="reads at once from each filespace"
    )
    worker_chunk_size: int = Field(
        4 * 1024 * 1024, ge=4096, le=1 << 30, description="bytes per read"
    )
    worker_max_bytes_per_second: int = Field(
        0,
        ge=0,
        le=MOST_BYTES_PER_SECOND,
        description="bytes a worker reads per second; 0: no limit",
    )
    worker_lease: float = Field(
        30.0, ge=1, le=3600, description="seconds after which a silent worker's files go back"
    )
    worker_read_timeout: float = Field(
        300.0, gt=0, le=ONE_DAY, description="seconds without a byte after which a file has failed"
    )

    # Indexer
    index_concurrency: int = Field(4, ge=1, le=64, description="folders scanned at once")
    index_interval: float = Field(
        900.0, ge=0, description="seconds between two scans in standalone; 0: only at the start"
    )

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    log_format: Literal["text", "json"] = Field("text", description="text or json (one a line)")

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth(cls, value: object, info: ValidationInfo) -> object:
        # Python counts true as 1: a port, a limit and a timeout alike.
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("must not be true or false")
        return value

    @field_validator("cors_origins", "allowed_paths", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("api_gateway_key")
    @classmethod
    def _refuse_empty_key(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().strip():
            raise ValueError("the API key must not be empty")
        return value

    @classmethod
    def load(
        cls,
        config_file: Path | None = None,
        overrides: Source | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Read the settings: ``config_file`` < ``environ`` < ``overrides``.

        Without ``config_file`` the file that API_GATEWAY_CONFIG names is read, else
        ``config.toml`` of the working directory, if there is one. Overrides that are None count
        as not given. Raises `SettingsError`, one line for each setting that is wrong.
        """
        environ = os.environ if environ is None else environ
        config_file = config_file or _find_config_file(environ)
        layers: dict[str, Source] = {
            f"in {config_file}": _read_config_file(config_file) if config_file else {},
            "in the environment": _read_environment(environ, cls.model_fields),
            "on the command line": {k: v for k, v in (overrides or {}).items() if v is not None},
        }
        origins = {name: origin for origin, layer in layers.items() for name in layer}
        merged = {name: value for layer in layers.values() for name, value in layer.items()}
        try:
            return cls(**merged)
        except ValidationError as error:
            raise SettingsError(_describe(error, origins)) from None

    @property
    def mount_points(self) -> tuple[str, ...]:
        """Where the filespaces are mounted: those listed, or else the one."""
        return tuple(it.mount_point for it in self.filespaces) or (self.container_mount_point,)

    @property
    def uses_demo_key(self) -> bool:
        """Whether the API key is the one that everybody knows."""
        return self.api_gateway_key.get_secret_value() == DEMO_KEY

    @property
    def listen_host(self) -> str:
        """The address to listen on: loopback while anybody may know the key."""
        if self.uses_demo_key and not self.allow_demo_key:
            return "127.0.0.1"
        return self.api_gateway_host or ALL_ADDRESSES


def guessed_key_name(environ: Mapping[str, str]) -> str | None:
    """A variable that may have been meant to be API_GATEWAY_KEY, where that is not set."""
    if environ.get("API_GATEWAY_KEY"):
        return None
    return next((name for name in GUESSED_KEY_NAMES if environ.get(name)), None)


def _find_config_file(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get(CONFIG_FILE_VARIABLE):
        return Path(named)
    local = Path("config.toml")
    return local if local.is_file() else None


def _read_config_file(path: Path) -> Source:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"Cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None


def _read_environment(environ: Mapping[str, str], known: Mapping[str, Any]) -> Source:
    """The settings among the environment's variables; an empty one counts as not given.

    The key is the exception: whoever empties it wants no key, which we do not offer.
    """
    environ = {name: value for name, value in environ.items() if not _is_link(name, value)}
    for variable in environ:
        _refuse_typing_error(variable, known)
    return {
        name: environ[name.upper()]
        for name in known
        if environ.get(name.upper()) or (name == "api_gateway_key" and name.upper() in environ)
    }


def _is_link(variable: str, value: str) -> bool:
    if variable.endswith("_PORT") and KUBERNETES_URL.match(value):
        return True
    return KUBERNETES_LINK.search(variable) is not None


def _refuse_typing_error(variable: str, known: Mapping[str, Any]) -> None:
    if variable == CONFIG_FILE_VARIABLE or variable.lower() in known:
        return
    near = difflib.get_close_matches(variable.lower(), known, n=1, cutoff=0.88)
    if variable.startswith(OWN_FAMILIES) or (near and variable.startswith(SHARED_FAMILIES)):
        hint = f", did you mean {near[0].upper()}?" if near else ""
        raise SettingsError(f"Unknown environment variable {variable}{hint}")


def _describe(error: ValidationError, origins: Mapping[str, str]) -> str:
    return "\n".join(
        _describe_one(item["loc"], item["type"], item["msg"], origins)
        for item in error.errors(include_input=False, include_url=False)
    )


def _describe_one(
    place: tuple[int | str, ...], kind: str, reason: str, origins: Mapping[str, str]
) -> str:
    name, inside = str(place[0]), place[1:]
    origin = origins.get(name, "in the arguments")
    shown = {
        "in the environment": name.upper(),
        "on the command line": "--" + name.replace("_", "-"),
    }.get(origin, name)
    if kind == "extra_forbidden" and not inside:
        near = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.7)
        hint = f", did you mean {near[0]}?" if near else ""
        return f"Unknown setting {shown} {origin}{hint}"
    reason = reason.removeprefix("Value error, ").removeprefix("Input ")
    # Lists are counted from 1 for people.
    where = "".join(f"{it + 1}: " if isinstance(it, int) else f"{it}: " for it in inside)
    return f"Wrong value for {shown} {origin}: {where}{reason}"
