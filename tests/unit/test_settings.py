"""Settings: their sources, their precedence, and errors that prevent the start."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.errors import SettingsError
from gateway.settings import DEMO_KEY, Settings
from gateway.settings.sources import CONFIG_FILE_VARIABLE
from support import ROOT

SECRET = "hunter2-hunter2"


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """Write a config file; return its path."""

    def write(text: str) -> Path:
        path = tmp_path / "gateway.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def load(config_file: Path | None = None, **environ: str) -> Settings:
    return Settings.load(config_file, environ=environ)


def refuse(*arguments: Any, **keywords: Any) -> str:
    """Load settings that must be refused; return the message."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(*arguments, **({"environ": {}} | keywords))
    return caught.value.message


def test_the_defaults_are_those_of_the_document() -> None:
    settings = load()
    assert settings.api_gateway_port == 8095
    assert settings.api_gateway_key.get_secret_value() == DEMO_KEY == "demo-api-key-2024"
    assert (settings.db_host, settings.db_port) == ("postgres", 5432)
    assert (settings.db_name, settings.db_user) == ("teamcache_db", "teamcache_user")
    assert settings.db_password.get_secret_value() == "teamcache_password"
    assert (settings.s3_region, settings.s3_check_interval) == ("us-east-1", 5000)
    assert settings.cache_progress_file_threshold == 10
    assert settings.cache_progress_time_threshold == 2000
    assert settings.container_mount_point == "/media/lucidlink-1"


def test_every_documented_variable_is_read() -> None:
    settings = load(
        API_GATEWAY_PORT="8096",
        API_GATEWAY_KEY=SECRET,
        DB_HOST="db",
        DB_PORT="5433",
        DB_NAME="n",
        DB_USER="u",
        DB_PASSWORD="p",
        BACKEND_WS_URL="ws://backend:3002",
        S3_HEALTH_BUCKET="b",
        S3_REGION="eu-west-1",
        S3_CHECK_INTERVAL="1000",
        CACHE_PROGRESS_FILE_THRESHOLD="5",
        CACHE_PROGRESS_TIME_THRESHOLD="500",
    )
    assert settings.api_gateway_port == 8096
    assert settings.api_gateway_key.get_secret_value() == SECRET
    assert settings.db_port == 5433
    assert settings.backend_ws_url == "ws://backend:3002"
    assert settings.s3_check_interval == 1000
    assert settings.cache_progress_time_threshold == 500


def test_file_then_environment_then_command_line(config: Any) -> None:
    path = config("db_host = 'file'\ndb_name = 'file'\ndb_user = 'file'\n")
    settings = Settings.load(
        path,
        overrides={"db_host": "override", "db_port": None},
        environ={"DB_HOST": "environment", "DB_NAME": "environment"},
    )
    assert settings.db_host == "override"
    assert settings.db_name == "environment"
    assert settings.db_user == "file"
    assert settings.db_port == 5432


def test_the_file_that_the_environment_names_is_read(config: Any) -> None:
    path = config("db_host = 'file'")
    assert load(**{CONFIG_FILE_VARIABLE: str(path)}).db_host == "file"


def test_the_working_directorys_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load().db_host == "postgres"
    (tmp_path / "config.toml").write_text("db_host = 'here'")
    assert load().db_host == "here"


def test_lists_are_written_with_commas_or_as_lists(config: Any) -> None:
    written = load(ALLOWED_PATHS=" 00_Media, 01_VFX ,", CORS_ORIGINS="https://a.example")
    assert written.allowed_paths == ("00_Media", "01_VFX")
    assert written.cors_origins == ("https://a.example",)
    assert load(config("allowed_paths = ['a,b', 'c']")).allowed_paths == ("a,b", "c")


def test_an_empty_variable_counts_as_not_given() -> None:
    assert load(DB_HOST="", DB_PORT="", S3_HEALTH_BUCKET="").db_host == "postgres"


@pytest.mark.parametrize("key", ["", "   ", "\t"])
def test_an_empty_key_is_refused(key: str) -> None:
    message = refuse(environ={"API_GATEWAY_KEY": key})
    assert message == (
        "Wrong value for API_GATEWAY_KEY in the environment: the API key must not be empty"
    )


WRONG_VALUES = [
    ("api_gateway_port", "65536"),
    ("api_gateway_port", "-1"),
    ("api_gateway_port", "http"),
    ("allow_demo_key", "perhaps"),
    ("rate_limit_per_minute", "-1"),
    ("rate_limit_per_minute", "1.5"),
    ("rate_limit_per_minute", "1000001"),
    ("poll_limit_per_minute", "1" + "0" * 400),
    ("db_port", "0"),
    ("db_pool_size", "0"),
    ("db_connect_timeout", "0"),
    ("db_connect_timeout", "inf"),
    ("db_statement_timeout", "nan"),
    ("db_statement_timeout", "1e12"),
    ("db_submit_timeout", "inf"),
    ("shutdown_timeout", "inf"),
    ("worker_read_timeout", "inf"),
    ("index_interval", "-1"),
    ("cache_progress_time_threshold", "99"),
    ("container_mount_point", "relative/path"),
    ("container_mount_point", "/"),
    ("container_mount_point", "/media/../etc"),
    ("log_level", "loud"),
    ("log_format", "xml"),
]


@pytest.mark.parametrize(("name", "value"), WRONG_VALUES)
def test_a_wrong_value_stops_the_start_with_one_line_that_names_it(
    config: Any, name: str, value: str
) -> None:
    path = config(f'{name} = "{value}"')
    option = "--" + name.replace("_", "-")
    for message, start in (
        (refuse(path), f"{name} in {path}: "),
        (refuse(environ={name.upper(): value}), f"{name.upper()} in the environment: "),
        (refuse(overrides={name: value}), f"{option} on the command line: "),
    ):
        assert message.startswith(f"Wrong value for {start}")
        assert "\n" not in message


@pytest.mark.parametrize(
    "text", ["db_port = true", "db_host = 5", "allowed_paths = [1]", "[db_host]", "db_port = [1]"]
)
def test_a_value_of_another_type_in_the_file_is_refused(config: Any, text: str) -> None:
    assert refuse(config(text)).startswith("Wrong value for ")


def test_each_wrong_setting_gets_a_line(config: Any) -> None:
    message = refuse(config("db_port = 0"), environ={"S3_CHECK_INTERVAL": "x"})
    assert [line.split()[3] for line in message.splitlines()] == ["db_port", "S3_CHECK_INTERVAL"]


def test_an_unknown_key_of_the_file_stops_the_start(config: Any) -> None:
    path = config("db_hots = 'x'")
    assert refuse(path) == f"Unknown setting db_hots in {path}, did you mean db_host?"
    path = config("[api]\nport = 1")
    assert refuse(path) == f"Unknown setting api in {path}"


def test_an_unknown_option_stops_the_start() -> None:
    message = refuse(overrides={"db_hots": "x"})
    assert message == "Unknown setting --db-hots on the command line, did you mean db_host?"


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("API_GATEWAY_PROT", ", did you mean API_GATEWAY_PORT?"),
        ("API_GATEWAY_COLOUR", ""),
        ("CACHE_PROGRESS_THRESHOLD", ""),
        ("DB_PASWORD", ", did you mean DB_PASSWORD?"),
        ("S3_HEALTH_BUCKETS", ", did you mean S3_HEALTH_BUCKET?"),
        ("ALLOWED_PATH", ", did you mean ALLOWED_PATHS?"),
        ("CORS_ORIGIN", ", did you mean CORS_ORIGINS?"),
        ("RATE_LIMIT_PER_MINUTES", ", did you mean RATE_LIMIT_PER_MINUTE?"),
    ],
)
def test_a_misspelt_variable_prevents_the_start(variable: str, hint: str) -> None:
    message = refuse(environ={variable: "x"})
    assert message.startswith(f"Unknown environment variable {variable}")
    if hint:
        assert message.endswith(hint)


@pytest.mark.parametrize(
    "variable",
    [
        "PATH",
        "DB_DRIVER",
        "S3_ACCESS_KEY",
        "LOG_DIR",
        "WORKER_NAME",
        "INDEX_URL",
        "AWS_REGION",
        "api_gateway_colour",
    ],
)
def test_variables_of_other_programs_are_ignored(variable: str) -> None:
    assert load(**{variable: "x"}) == load()


def kubernetes_variables(service: str, port: int) -> dict[str, str]:
    """The variables that Kubernetes sets for a service."""
    url = f"tcp://10.43.7.1:{port}"
    return {
        f"{service}_SERVICE_HOST": "10.43.7.1",
        f"{service}_SERVICE_PORT": str(port),
        f"{service}_SERVICE_PORT_HTTP": str(port),
        f"{service}_PORT": url,
        f"{service}_PORT_{port}_TCP": url,
        f"{service}_PORT_{port}_TCP_PROTO": "tcp",
        f"{service}_PORT_{port}_TCP_PORT": str(port),
        f"{service}_PORT_{port}_TCP_ADDR": "10.43.7.1",
    }


@pytest.mark.parametrize("service", ["API_GATEWAY", "DB", "WORKER", "API_GATEWAY_METRICS", "S3"])
def test_kubernetes_service_variables_are_ignored(service: str) -> None:
    assert load(**kubernetes_variables(service, 8095)) == load()


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path, config: Any) -> None:
    missing = tmp_path / "missing.toml"
    assert refuse(missing) == f"Cannot read {missing}: No such file or directory"
    assert refuse(environ={CONFIG_FILE_VARIABLE: str(missing)}).startswith("Cannot read ")
    assert refuse(tmp_path) == f"Cannot read {tmp_path}: Is a directory"
    assert " is not valid TOML: " in refuse(config("db_host = "))
    path = tmp_path / "latin1.toml"
    path.write_bytes(b"db_host = '\xe9'")
    assert " is not valid TOML: " in refuse(path)


def test_secrets_are_never_shown(config: Any) -> None:
    settings = load(API_GATEWAY_KEY=SECRET, DB_PASSWORD=SECRET)
    rendered = [
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
    ]
    rendered.append(
        refuse(config(f"api_gateway_key = ['{SECRET}']\ndb_password = {{a = '{SECRET}'}}"))
    )
    rendered.append(refuse(overrides={"db_password": [SECRET]}))
    assert SECRET not in "".join(rendered)


def test_settings_do_not_change() -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError):
        load().db_host = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({}, "127.0.0.1"),
        ({"api_gateway_host": "0.0.0.0"}, "127.0.0.1"),
        ({"allow_demo_key": True}, "0.0.0.0"),
        ({"allow_demo_key": True, "api_gateway_host": "10.0.0.1"}, "10.0.0.1"),
        ({"api_gateway_key": SECRET}, "0.0.0.0"),
        ({"api_gateway_key": SECRET, "api_gateway_host": "::1"}, "::1"),
    ],
)
def test_the_demo_key_is_for_this_machine_alone(settings: dict[str, Any], host: str) -> None:
    assert Settings(**settings).listen_host == host


def plain(value: Any) -> Any:
    """A default as a TOML file can hold it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return list(value) if isinstance(value, tuple) else value


DEFAULTS = {name: plain(field.default) for name, field in Settings.model_fields.items()}


def test_config_toml_lists_every_setting_with_its_default_and_no_other() -> None:
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    listed = tomllib.loads(text.replace("\n#filespaces =", "\nfilespaces ="))
    assert listed == DEFAULTS
    assert list(listed) == list(DEFAULTS)
    assert {name: type(value) for name, value in listed.items()} == {
        name: type(value) for name, value in DEFAULTS.items()
    }


def test_config_toml_describes_every_setting() -> None:
    for line in (ROOT / "config.toml").read_text(encoding="utf-8").splitlines():
        if " = " in line and not line.startswith("# "):
            name, _, reason = line.removeprefix("#").partition("  # ")
            assert reason == Settings.model_fields[name.split(" = ")[0]].description


ROW = re.compile(r"^\| `([A-Z][A-Z0-9_]*)` \|([^|]*)\|", re.MULTILINE)


def in_words(value: Any) -> str:
    """A default as an environment variable is written."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)


def test_the_reference_lists_every_setting_with_its_default_and_no_other() -> None:
    rows = ROW.findall((ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8"))
    listed = {name: default.strip().strip("`") for name, default in rows}
    assert listed == {name.upper(): in_words(value) for name, value in DEFAULTS.items()}
