"""The README's commands do what it says: each is run, against the sample that it speaks of."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gateway.app import ROUTES
from gateway.cli import COMMANDS, USING
from support import ROOT
from support.optional_programs import require_program
from support.page_kit import assert_command_exists, lines_of, outside
from support.sample_gateway import Sample, running_sample

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
PYTHONS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
CURLS = [block for block in BLOCKS if block.startswith(("curl", "JOB_ID="))]
USES = re.compile(rf"teamcache-gateway ({'|'.join(USING)})\b")
CLIENTS = [block for block in BLOCKS if USES.search(block)]
OTHERS = [line for block in BLOCKS if block not in [*CURLS, *CLIENTS] for line in lines_of(block)]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    with running_sample(tmp_path_factory.mktemp("sample")) as running:
        yield running


def test_one_command_shows_a_job_and_one_runs_the_tests() -> None:
    assert BLOCKS[0].strip() == "make run"
    assert "make test\n" in BLOCKS


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
    assert done.stdout.endswith("completed 100 %, 252 of 252 files, 6.02 GB of 6.02 GB\n")


def test_the_clients_snippet_runs_as_it_stands(sample: Sample) -> None:
    [snippet] = PYTHONS
    (sample.folder / "watch.py").write_text(snippet.replace("http://localhost:8095", sample.url))
    done = subprocess.run(
        [sys.executable, "watch.py"],
        capture_output=True, text=True, check=False, cwd=sample.folder, env=outside(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("completed 100 %\n")


@pytest.mark.parametrize("line", OTHERS)
def test_every_other_command_exists(line: str) -> None:
    assert_command_exists(line)


def test_the_json_shown_is_json() -> None:
    for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL):
        json.loads(block)


def rows_of(section: str) -> list[list[str]]:
    """The cells of the tables in a section, without their heads."""
    text = TEXT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [line.strip("|").split("|") for line in re.findall(r"^\| .*\|$", text, re.MULTILINE)]


def test_the_settings_shown_are_as_the_reference_has_them() -> None:
    reference = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    rows = [
        line.strip("|").split("|") for line in re.findall(r"^\| `.*\|$", reference, re.MULTILINE)
    ]
    known = {row[0]: (row[1], row[-1]) for row in rows}
    shown = [row for row in rows_of("Settings") if row[0].startswith(" `")]
    assert len(shown) == 10
    for name, default, text in shown:
        assert (default, text) == known[name]


def test_every_route_is_in_the_table() -> None:
    told = {route for row in rows_of("The API") for route in re.findall(r"`([A-Z]+ /\S*)`", row[0])}
    served = {f"{route.method} {route.path}" for route in ROUTES if not route.is_page}
    assert told == {"GET /"} | {re.sub(r"\{job_id[^}]*\}", "{id}", it) for it in served}


def test_every_command_that_runs_a_gateway_is_in_the_table() -> None:
    told = {row[0].strip(" `").split()[0] for row in rows_of("Operations")[1:]}
    assert told == set(COMMANDS) - set(USING)


@pytest.mark.parametrize("section", ["Security", "Promises and their tests"])
def test_every_promise_names_the_tests_that_prove_it(section: str) -> None:
    promises = rows_of(section)[1:]
    assert len(promises) >= 12
    for promise in promises:
        assert re.search(r"\]\(tests/\w+/test_\w+\.py\)", promise[-1]), promise
