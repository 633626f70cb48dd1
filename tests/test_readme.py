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
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.sample_media import make_sample_media

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```bash\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
CURLS = [block for block in BLOCKS if block.startswith("curl")]
OTHERS = [
    line
    for block in BLOCKS
    if block not in CURLS
    for line in block.replace("\\\n", " ").splitlines()
]


@pytest.fixture(scope="module")
def sample_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a standalone gateway on the sample, its first index complete."""
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
    try:
        yield _wait_until_indexed(f"http://127.0.0.1:{port}", process)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        subprocess.run(["rm", "-rf", data], check=True)


def _wait_until_indexed(url: str, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/api/v1/health") as answer:
                if json.load(answer)["index"]["status"] == "ready":
                    return url
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("the gateway did not start")


def test_the_two_commands_come_first() -> None:
    assert [block.strip() for block in BLOCKS[:2]] == ["make run", "make test"]


def test_the_curl_walk_through_works(sample_url: str) -> None:
    job_id = ""
    for block in CURLS:
        command = block.replace("http://localhost:8095", sample_url).replace("$JOB_ID", job_id)
        done = subprocess.run(
            ["bash", "-c", f"curl() {{ command curl -sS \"$@\"; }}\n{command}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        answer = json.loads(done.stdout)
        job_id = answer.get("jobId", job_id)
        if "DELETE" not in block:
            assert answer["success"], answer
        if "POST" in block:
            assert answer["totalFiles"] == 241
            assert answer["totalSize"] == {"bytes": 560463872, "readable": "534.5 MB"}
    assert job_id


@pytest.mark.parametrize("line", OTHERS)
def test_every_other_command_exists(line: str) -> None:
    words = [word for word in shlex.split(line) if "=" not in word or word.startswith("-")]
    program, *arguments = words
    if program == "make":
        assert re.search(rf"^{arguments[0]}:", Path("Makefile").read_text(), re.MULTILINE)
    elif program == "pip":
        assert "embedded" in Path("pyproject.toml").read_text()
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
            assert Path(word.removeprefix("api-gateway/")).is_file()
    if "EXTRAS" in " ".join(arguments):
        assert "ARG EXTRAS" in Path("Dockerfile").read_text()


def test_the_json_shown_is_json() -> None:
    for block in re.findall(r"```json\n(.*?)```", README.read_text(), re.DOTALL):
        json.loads(block)
