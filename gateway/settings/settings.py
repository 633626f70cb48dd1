"""Every setting, declared once: its name, type, default, bounds and purpose.

A setting has one name everywhere: ``db_host`` is ``db_host`` in ``config.toml``, ``DB_HOST`` in
the environment and ``--db-host`` on the command line, which win in that order. A wrong value, an
unknown name in the file or on the command line, or a close misspelling of a name in the environment
prevents the start with a `SettingsError` that names it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

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
from gateway.net.addresses import TrustedProxies
from gateway.net.urls import is_discoverable
from gateway.settings.filespace_settings import FilespaceList, MountPoint
from gateway.settings.jwt_algorithms import DEFAULT_ALGORITHMS, Algorithm
from gateway.settings.sources import Source, find_config_file, read_config_file, read_environment
from gateway.settings.validation_messages import describe

ONE_DAY: Final = 86_400
MAX_BYTES_PER_SECOND: Final = 10**15
DEMO_KEY: Final = "demo-api-key-2024"
ALL_ADDRESSES: Final = "0.0.0.0"  # noqa: S104 - the demo key alone restricts it to loopback


class Settings(BaseModel):
    """The settings of the gateway. Immutable; see each field's description for units.

    ``Settings(db_host="db")`` uses its arguments alone, for services that embed the gateway;
    `Settings.load` also reads the file and the environment.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    # API
    api_gateway_host: str = Field(
        "", description="address to listen on; empty: all (serve) or 127.0.0.1 (standalone)"
    )
    api_gateway_port: int = Field(8095, ge=0, le=65535, description="port to listen on; 0: any")
    tls_certificate: str = Field(
        "", description="PEM file with the certificate and its chain, for HTTPS; empty: plain HTTP"
    )
    tls_key: str = Field(
        "", validate_default=True, description="PEM file with the key of that certificate"
    )
    hsts_max_age: int = Field(
        31_536_000,
        ge=0,
        le=10 * 31_536_000,
        description="seconds for which browsers use HTTPS only (HSTS); 0: do not send the header",
    )
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
    trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses and networks whose X-Forwarded-For is trusted; empty: none"
    )
    jwt_issuer: str = Field(
        "", description="issuer (iss) whose tokens are accepted besides API keys; empty: no tokens"
    )
    jwt_audience: str = Field(
        "", description="audience (aud) that a token must be for", validate_default=True
    )
    jwt_jwks_url: str = Field(
        "", description="URL of the issuer's public keys (JWKS); empty: found by OpenID discovery"
    )
    jwt_jwks_file: str = Field(
        "", description="file with these keys, instead of the URL", validate_default=True
    )
    jwt_algorithms: tuple[Algorithm, ...] = Field(
        DEFAULT_ALGORITHMS, min_length=1, description="signatures that are accepted"
    )
    jwt_leeway: float = Field(
        30.0, ge=0, le=600, description="seconds that the issuer's clock may be off"
    )
    jwt_scope_claim: str = Field(
        "scope", min_length=1, description="claim with the scopes, as one string or a list"
    )
    jwt_scope_prefix: str = Field(
        "", description="prefix of the gateway's scopes in that claim; others are ignored"
    )
    jwt_name_claim: str = Field(
        "sub", min_length=1, description="claim that names the caller, who is then jwt:NAME"
    )
    signature_window: float = Field(
        300.0, ge=1, le=3600, description="seconds for which a request's signature is valid"
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
    public_metrics: bool = Field(
        True, description="show metrics without a key; else to keys with the scope metrics:read"
    )
    isolate_callers: bool = Field(
        False, description="let a key without the scope admin see and cancel its own jobs only"
    )
    max_connections: int = Field(
        16_384,
        ge=1,
        le=1_000_000,
        description="connections served at once; fewer where ulimit -n does not allow as many",
    )
    shutdown_timeout: float = Field(
        10.0, gt=0, le=300, description="seconds that requests and reads in flight get at shutdown"
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
        description="seconds that creating one job may take (long for a million files)",
    )

    # Filespace
    container_mount_point: MountPoint = Field(
        "/media/lucidlink-1", description="where the filespace is mounted for the gateway"
    )
    filespaces: FilespaceList = Field(
        (), description="name, mount_point and client_roots of each, instead of the one mount point"
    )
    allowed_paths: tuple[str, ...] = Field(
        (), description="the only prefixes that may be cached, comma-separated; empty: all"
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
        le=MAX_BYTES_PER_SECOND,
        description="bytes a worker reads per second; 0: no limit",
    )
    worker_lease: float = Field(
        30.0, ge=1, le=3600, description="seconds after which a silent worker's files are released"
    )
    worker_read_timeout: float = Field(
        300.0, gt=0, le=ONE_DAY, description="seconds without a byte after which a file has failed"
    )

    # Indexer
    index_concurrency: int = Field(4, ge=1, le=64, description="folders scanned at once, at most")
    index_interval: float = Field(
        900.0, ge=0, description="seconds between two scans in standalone; 0: only at the start"
    )

    # Logs
    audit_log: str = Field(
        "", description="file for one JSON line per change or refusal; empty: with the other logs"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    log_format: Literal["text", "json"] = Field("text", description="text or json (one a line)")

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: object, info: ValidationInfo) -> object:
        # A bool is an int in Python, so true would be a valid port, limit or timeout.
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("must not be true or false")
        return value

    @field_validator(
        "cors_origins", "trusted_proxies", "allowed_paths", "jwt_algorithms", mode="before"
    )
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        TrustedProxies.parse(value)
        return value

    @field_validator("tls_key")
    @classmethod
    def _check_tls_pair(cls, value: str, info: ValidationInfo) -> str:
        if bool(value) != bool(info.data.get("tls_certificate")):
            raise ValueError("tls_certificate and tls_key must be given together")
        return value

    @field_validator("jwt_audience")
    @classmethod
    def _check_audience(cls, value: str, info: ValidationInfo) -> str:
        if bool(value) != bool(info.data.get("jwt_issuer")):
            raise ValueError("jwt_issuer and jwt_audience must be given together")
        return value

    @field_validator("jwt_jwks_url")
    @classmethod
    def _check_jwks_url(cls, value: str) -> str:
        if value and not re.match(r"https?://[^/\s]+(/\S*)?$", value):
            raise ValueError("must be a URL that begins with https:// or http://")
        return value

    @field_validator("jwt_jwks_file")
    @classmethod
    def _check_jwks_source(cls, value: str, info: ValidationInfo) -> str:
        given = bool(value) + bool(info.data.get("jwt_jwks_url"))
        issuer = info.data.get("jwt_issuer", "")
        if given > bool(issuer):
            raise ValueError("jwt_issuer needs one of jwt_jwks_url and jwt_jwks_file, and they it")
        if issuer and not given and not is_discoverable(issuer):
            raise ValueError("jwt_issuer needs jwt_jwks_url or jwt_jwks_file: it is no https URL")
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
        ``config.toml`` in the working directory, if there is one. Overrides that are None count
        as not given. Raises `SettingsError` with one line for each wrong setting.
        """
        environ = os.environ if environ is None else environ
        config_file = config_file or find_config_file(environ)
        layers: dict[str, Source] = {
            f"in {config_file}": read_config_file(config_file) if config_file else {},
            "in the environment": read_environment(environ, cls.model_fields),
            "on the command line": {k: v for k, v in (overrides or {}).items() if v is not None},
        }
        origins = {name: origin for origin, layer in layers.items() for name in layer}
        merged = {name: value for layer in layers.values() for name, value in layer.items()}
        try:
            return cls(**merged)
        except ValidationError as error:
            raise SettingsError(describe(error, origins, cls.model_fields)) from None

    @property
    def mount_points(self) -> tuple[str, ...]:
        """The mount points of the listed filespaces, or else the single one."""
        return tuple(it.mount_point for it in self.filespaces) or (self.container_mount_point,)

    @property
    def uses_demo_key(self) -> bool:
        """Whether the API key is the public demo key."""
        return self.api_gateway_key.get_secret_value() == DEMO_KEY

    @property
    def listen_host(self) -> str:
        """The address to listen on: loopback with the demo key."""
        if self.uses_demo_key and not self.allow_demo_key:
            return "127.0.0.1"
        return self.api_gateway_host or ALL_ADDRESSES
