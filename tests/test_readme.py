"""The README's commands do what it says: each is run, against the sample that it speaks of."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from optional_programs import require_program
from page_kit import assert_command_exists, lines_of, outside
from sample_gateway import Sample, running_sample, wait_until_ready

from bench.free_ports import free_port
from gateway.cli import USING
from gateway.cli.client_settings import NAMES
from gateway.cli.exit_codes import ExitCode
from gateway.settings import Settings

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCKS = re.findall(r"```bash\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
PYTHONS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
CURLS = [block for block in BLOCKS if block.startswith(("curl", "JOB_ID="))]
USES = re.compile(rf"teamcache-gateway ({'|'.join(USING)})\b")
CLIENTS = [block for block in BLOCKS if USES.search(block)]
OTHERS = [line for block in BLOCKS if block not in [*CURLS, *CLIENTS] for line in lines_of(block)]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    with running_sample(tmp_path_factory.mktemp("sample")) as running:
        yield running


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
    port = free_port()
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
        health = wait_until_ready(f"http://127.0.0.1:{port}/cache/api/v1/health", process)
        assert health["status"] == "healthy"
    finally:
        process.terminate()
        process.wait(30)


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
    assert_command_exists(line)


def test_the_json_shown_is_json() -> None:
    for block in re.findall(r"```json\n(.*?)```", README.read_text(), re.DOTALL):
        json.loads(block)
