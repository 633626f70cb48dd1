"""The Dockerfile, the compose file and the systemd unit, as far as they run without their hosts."""

from __future__ import annotations

import asyncio
import configparser
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli import COMMANDS
from gateway.settings import DEMO_KEY, Settings
from gateway.settings.sources import CONFIG_FILE_VARIABLE
from support import ROOT
from support.certificates import make_pair, serving, tls_settings
from support.optional_programs import require_program

DEPLOY = ROOT / "deploy"
COMPOSE_FILE = DEPLOY / "docker-compose.api.yml"
UNIT_FILE = DEPLOY / "teamcache-gateway.service"
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
# Read by the AWS client itself.
AWS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
# What the quick start needs, against the careful defaults.
ON_PURPOSE = {"ALLOW_DEMO_KEY", "BACKEND_WS_URL"}

sys.path.insert(0, str(DEPLOY))

from dockerfile_check.dockerfile import (  # noqa: E402
    CheckFailed,
    Dockerfile,
    read_dockerfile,
    read_ignored,
)


@pytest.fixture
def dockerfile() -> Dockerfile:
    return read_dockerfile(ROOT / "Dockerfile")


@pytest.fixture
def service() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE_FILE.read_text())["services"]["api-gateway"]


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def environment_of(service: dict[str, Any]) -> dict[str, str]:
    """The container's environment with an empty .env; what is only passed on is left out."""
    pairs = (entry.partition("=") for entry in service["environment"] if "=" in entry)
    return {name: VARIABLE.sub(lambda found: found[2] or "", value) for name, _, value in pairs}


def variables_of_the_compose_file() -> dict[str, str]:
    """What the compose file reads from .env, with its defaults."""
    text = "\n".join(
        line for line in COMPOSE_FILE.read_text().splitlines() if not line.lstrip().startswith("#")
    )
    return dict(VARIABLE.findall(text)) | dict.fromkeys(AWS, "")


def lines_of_the_example() -> list[tuple[str, str]]:
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return [(name, value) for name, _, value in pairs]


# The image


@pytest.mark.timeout(400)
def test_the_steps_of_the_dockerfile_make_a_gateway_that_starts_answers_and_stops():
    done = run(sys.executable, DEPLOY / "check_dockerfile.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HEALTHCHECK is content" in done.stdout
    assert "the database answers" in done.stdout
    assert "SIGTERM ends it with code 0" in done.stdout
    assert "Not run here" in done.stdout


def test_the_image_runs_as_a_numbered_user_beyond_root(dockerfile):
    assert dockerfile.final_user >= 10_000


def test_the_image_serves_and_takes_signals_itself(dockerfile):
    assert (dockerfile.entrypoint, dockerfile.command) == (["teamcache-gateway"], ["serve"])
    assert dockerfile.stop_signal == "SIGTERM"


def test_the_image_exposes_the_default_port_and_names_its_config_file(dockerfile):
    last = {each.keyword: each.rest for each in dockerfile.stages[-1].instructions}
    assert int(last["EXPOSE"]) == Settings().api_gateway_port
    copied = re.search(rf"{CONFIG_FILE_VARIABLE}=(\S+)", last["ENV"])[1]
    assert f"COPY config.toml {copied}" in (ROOT / "Dockerfile").read_text()


def test_no_stage_of_the_image_installs_a_compiler(dockerfile):
    steps = [
        each.rest for stage in dockerfile.stages for each in stage.instructions
        if each.keyword == "RUN"
    ]  # fmt: skip
    assert not [step for step in steps if re.search(r"\bapt(-get)?\b|\bgcc\b", step)]


@pytest.mark.parametrize("line", ["ENTRYPOINT teamcache-gateway", "ENTRYPOINT [teamcache-gateway]"])
def test_a_shell_between_docker_and_the_gateway_is_refused(tmp_path, line):
    path = tmp_path / "Dockerfile"
    path.write_text(f"FROM python\n{line}\n")
    with pytest.raises(CheckFailed, match="ENTRYPOINT on line 2 is not in exec form"):
        _ = read_dockerfile(path).entrypoint


@pytest.mark.parametrize("user", ["root", "0", "0:0", "gateway"])
def test_root_and_names_are_refused_as_the_image_s_user(tmp_path, user):
    path = tmp_path / "Dockerfile"
    path.write_text(f"FROM python\nUSER {user}\n")
    with pytest.raises(CheckFailed, match="USER on line 2"):
        _ = read_dockerfile(path).final_user


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        "deploy/.env.example",
        "gateway/__pycache__/app.cpython-313.pyc",
        "gateway/handlers/health.pyc",
        "tests/system/test_deploy.py",
        "gateway.log",
    ],
)
def test_the_image_is_not_built_from(path):
    assert read_ignored(ROOT / ".dockerignore").covers(path)


@pytest.mark.parametrize(
    "path", ["pyproject.toml", "gateway/app.py", "gateway/database/sql/jobs.sql"]
)
def test_the_image_is_built_from(path):
    assert not read_ignored(ROOT / ".dockerignore").covers(path)


# HEALTHCHECK


@contextmanager
def answering(status: int) -> Iterator[int]:
    """An HTTP server that answers everything so; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/livez" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(dockerfile: Dockerfile, **env: str) -> int:
    return run(sys.executable, *dockerfile.healthcheck[1:], env=env).returncode


def test_the_healthcheck_is_content_with_a_living_gateway(dockerfile):
    with answering(200) as port:
        assert ask(dockerfile, API_GATEWAY_PORT=str(port)) == 0


def test_the_healthcheck_minds_an_answer_that_is_not_200(dockerfile):
    with answering(503) as port:
        assert ask(dockerfile, API_GATEWAY_PORT=str(port)) != 0


def test_the_healthcheck_does_not_ask_a_proxy(dockerfile):
    with answering(200) as port:
        proxy = "http://127.0.0.1:9"
        assert ask(dockerfile, API_GATEWAY_PORT=str(port), http_proxy=proxy, HTTP_PROXY=proxy) == 0


@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1"])
def test_the_healthcheck_finds_the_gateway_wherever_it_listens(dockerfile, host):
    with answering(200) as port:
        assert ask(dockerfile, API_GATEWAY_PORT=str(port), API_GATEWAY_HOST=host) == 0


async def test_the_healthcheck_asks_by_https_where_there_is_a_certificate(dockerfile, tmp_path):
    make_pair().write(tmp_path)
    async with serving(tls_settings(tmp_path)) as (url, _):
        port, file = url.rpartition(":")[2], str(tmp_path / "tls.crt")
        code = await asyncio.to_thread(ask, dockerfile, API_GATEWAY_PORT=port, TLS_CERTIFICATE=file)
    assert code == 0


# The compose file


def test_the_compose_file_keeps_the_names_that_the_stack_knows(service):
    assert service["networks"] == ["teamcache-network"]
    assert service["depends_on"] == ["postgres", "backend"]
    assert service["ports"] == ["${API_GATEWAY_PORT:-8095}:8095"]


def test_every_variable_of_the_compose_file_is_a_setting(service):
    names = {entry.partition("=")[0] for entry in service["environment"]}
    assert {name.lower() for name in names - AWS} <= set(Settings.model_fields)
    assert names >= AWS


def test_the_compose_file_s_defaults_are_the_settings_own(service):
    environ = environment_of(service)
    given = Settings.load(environ=environ)
    different = {
        name.upper()
        for name in Settings.model_fields
        if getattr(given, name) != getattr(Settings(), name)
    }
    assert different == ON_PURPOSE
    assert given.backend_ws_url == "ws://backend:3002"


def test_the_quick_start_s_key_works_through_the_published_port(service):
    settings = Settings.load(environ=environment_of(service))
    assert settings.api_gateway_key.get_secret_value() == DEMO_KEY
    assert settings.listen_host == "0.0.0.0"


def test_the_container_port_is_the_one_that_is_published(service):
    published = service["ports"][0].rpartition(":")[2]
    assert environment_of(service)["API_GATEWAY_PORT"] == published


def test_the_example_names_what_the_compose_file_reads_with_the_same_defaults():
    lines = lines_of_the_example()
    assert dict(lines) == variables_of_the_compose_file()
    assert len(lines) == len(dict(lines))


def test_compose_waits_longer_for_the_end_than_the_gateway_does(service):
    seconds = int(service["stop_grace_period"].removesuffix("s"))
    assert seconds > Settings().shutdown_timeout


def test_the_container_may_do_no_more_than_it_must(service):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


# The systemd unit


def read_unit() -> tuple[configparser.RawConfigParser, dict[str, str]]:
    """The unit, and its Environment= lines, which configparser would fold into one."""
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(UNIT_FILE)
    found = re.findall(r"^Environment=(\w+)=(.*)$", UNIT_FILE.read_text(), re.MULTILINE)
    return unit, dict(found)


@pytest.fixture
def installed_unit(tmp_path: Path) -> Path:
    """The unit as if its program were installed: systemd looks whether it is there."""
    program = read_unit()[0]["Service"]["ExecStart"].split()[0]
    path = tmp_path / UNIT_FILE.name
    path.write_text(UNIT_FILE.read_text().replace(f"ExecStart={program}", "ExecStart=/bin/true"))
    return path


def test_systemd_finds_nothing_wrong_with_the_unit(installed_unit):
    done = run(require_program("systemd-analyze"), "verify", "--man=no", installed_unit)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_calls_the_unit_well_enough_locked_in(installed_unit):
    done = run(
        *(
            require_program("systemd-analyze"),
            "security",
            "--offline=true",
            "--threshold=20",
            installed_unit,
        )
    )
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_unit_runs_a_command_that_exists_with_settings_that_exist():
    unit, environment = read_unit()
    assert unit["Service"]["ExecStart"].endswith(" $GATEWAY_COMMAND")
    assert environment["GATEWAY_COMMAND"] in COMMANDS
    Settings.load(environ={k: v for k, v in environment.items() if k != CONFIG_FILE_VARIABLE})
    assert environment[CONFIG_FILE_VARIABLE] == "/etc/teamcache-gateway/config.toml"


def test_a_setting_that_is_wrong_is_not_tried_again_and_again():
    unit, _ = read_unit()
    done = run(sys.executable, "-m", "gateway", "serve", "--db-port", "0", cwd=ROOT)
    assert str(done.returncode) == unit["Service"]["RestartPreventExitStatus"]
