"""A secret that gets into the source is found; those that open nothing are listed."""

from __future__ import annotations

import secrets
import shutil
import string
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import jwt
import pytest

from support import ROOT
from support.certificates import make_pair
from support.optional_programs import require_package

SCRIPT = ROOT / ".ci" / "leaked_secrets.py"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A part of the source, with what is listed as known."""
    require_package("detect_secrets")
    for name in (".gitignore", ".ci/known_secrets.txt", "config.toml", "tests/api/test_tokens.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def look(tree: Path, *options: str) -> tuple[int, list[str]]:
    """How it ends, and what it says."""
    done = subprocess.run(
        [sys.executable, SCRIPT, tree, *options], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_what_is_listed_is_known(tree: Path) -> None:
    assert look(tree) == (0, ["3 known secrets, 0 that nobody knows of"])


def letters(count: int) -> str:
    return "".join(secrets.choice(string.ascii_uppercase) for _ in range(count))


# Made here: written out they would be found in this file.
PLANTED = {
    "AWS Access Key": f'id = "AKIA{letters(16)}"',
    "Private Key": make_pair().key.decode(),
    "JSON Web Token": jwt.encode({"sub": "alice"}, secrets.token_bytes(32)),
    "Basic Auth Credentials": f"https://alice:{letters(12)}@db.example/",
    "Secret Keyword": f'db_password = "{letters(12)}"',
    "Base64 High Entropy String": f'it = "{urlsafe_b64encode(secrets.token_bytes(48)).decode()}"',
    "despite a remark": f'password = "{letters(12)}"  # pragma: ' + "allowlist secret",
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_secret_that_is_planted_is_found(tree: Path, kind: str) -> None:
    (tree / "new.py").write_text(PLANTED[kind])
    code, said = look(tree)
    assert code == 1
    assert said[0].startswith("new.py:1: ")
    assert kind == "despite a remark" or any(one.endswith(kind) for one in said)
    assert not any(secret in "\n".join(said) for secret in PLANTED[kind].splitlines())


def test_it_is_found_wherever_it_is(tree: Path) -> None:
    places = (
        "tests/api/test_tokens.py",
        "tests/notes.md",
        ".ci/run",
        "config.toml",
        "deploy/.env.x",
    )
    for place in places:
        (tree / place).parent.mkdir(exist_ok=True)
        with (tree / place).open("a") as file:
            file.write(f"\n{PLANTED['JSON Web Token']}\n")
    code, said = look(tree)
    assert code == 1
    assert {line.partition(":")[0] for line in said if "JSON Web Token" in line} == set(places)


def test_a_known_secret_is_not_known_elsewhere(tree: Path) -> None:
    shutil.copy(tree / "config.toml", tree / "production.toml")
    code, said = look(tree)
    assert (code, said[-1]) == (1, "3 known secrets, 1 that nobody knows of")


def test_what_is_kept_is_known_from_then_on_but_for_private_keys(tree: Path) -> None:
    (tree / "new.py").write_text(PLANTED["Secret Keyword"])
    assert look(tree, "--keep") == (0, ["4 known secrets, 0 that nobody knows of"])
    assert look(tree)[0] == 0
    (tree / "key.pem").write_text(PLANTED["Private Key"])
    assert look(tree, "--keep")[0] == 1
    assert PLANTED["Private Key"] not in (tree / ".ci" / "known_secrets.txt").read_text()


def test_what_git_ignores_is_no_part_of_the_source(tree: Path) -> None:
    for name in (".env", ".venv/x.py", "gateway/__pycache__/x.txt", "bench/results.json"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(PLANTED["Secret Keyword"])
    assert look(tree)[0] == 0
