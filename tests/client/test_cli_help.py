"""What the shell completes, and what ``--help`` says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import COMMANDS, RUNNING, USING
from support.optional_programs import require_program
from support.processes import environment

COMPLETE = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
COMPREPLY=()
# As readline would call it.
function_of_program=$(complete -p teamcache-gateway | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
$function_of_program teamcache-gateway
printf '%s\\n' "${COMPREPLY[@]}"
"""


def program(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env=environment(**env), capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the program is, and its completion for bash."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "teamcache-gateway").write_text(f'#!/bin/sh\nexec {sys.executable} -m gateway "$@"\n')
    (folder / "teamcache-gateway").chmod(0o755)
    (folder / "completion.bash").write_text(program("completion", "bash").stdout)
    return folder


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        (["su"], ["submit"]),
        (["j"], ["jobs", "job"]),
        (["wa"], ["watch"]),
        ([""], list(COMMANDS)),
        (["completion", "z"], ["zsh"]),
        (["jobs", "--status", "c"], ["completed", "cancelled"]),
        (["submit", "--no"], ["--no-recursive"]),
        (["submit", "x", "--wa"], ["--watch"]),
    ],
)
def test_bash_completes(installed: Path, words: list[str], completions: list[str]) -> None:
    bash = require_program("bash")
    env = environment()
    done = subprocess.run(
        [bash, "--norc", "-c", COMPLETE, "bash", installed / "completion.bash",
         "teamcache-gateway", *words],
        env=env | {"PATH": f"{installed}:{env['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == completions


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(shell: str) -> None:
    done = program("completion", shell)
    assert done.returncode == 0
    assert f"_TEAMCACHE_GATEWAY_COMPLETE={shell}_complete" in done.stdout
    assert program("completion", "tcsh").returncode == 2


def test_the_list_of_commands_is_in_two_parts() -> None:
    text = program("--help").stdout
    parts = text.partition("Run a gateway:")[2].partition("Use a gateway:")
    assert [line.split()[0] for line in parts[0].strip().splitlines()] == list(RUNNING)
    assert [line.split()[0] for line in parts[2].strip().splitlines()] == list(USING)


@pytest.mark.parametrize("name", USING)
def test_help_shows_examples(name: str) -> None:
    text = program(name, "--help", COLUMNS="80").stdout
    examples = text.partition("Example")[2].partition("Options:")[0]
    assert f"teamcache-gateway {name}" in examples
    assert text.startswith(f"Usage: teamcache-gateway {name} ")
    if name != "completion":
        assert all(option in text for option in ("--url, --server", "--key-file", "--json"))
        assert "--key " not in text
