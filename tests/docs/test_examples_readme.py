"""What the examples' README says of them is so."""

from __future__ import annotations

import json
import re

import pytest

from support.example_tools import EXAMPLES, README, listed_examples

FOLDERS = ("python", "node", "react")
SCRIPTS = {".py", ".js"}
PARTS = {"react/react-global.js"}
LOCKS = ("node", "react")


def test_every_example_is_in_the_table() -> None:
    there = {
        path.relative_to(EXAMPLES).as_posix()
        for folder in FOLDERS
        for path in (EXAMPLES / folder).iterdir()
        if path.suffix in SCRIPTS
    }
    assert set(listed_examples()) == there - PARTS


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or (EXAMPLES / target).is_file(), target


def test_the_variables_told_are_those_that_are_read() -> None:
    told = set(re.findall(r"`(GATEWAY_\w+)`", README))
    read = {
        name
        for path in listed_examples()
        for name in re.findall(r"\bGATEWAY_[A-Z_]+\b", (EXAMPLES / path).read_text())
    }
    assert told == read


@pytest.mark.parametrize("path", [p for p in listed_examples() if p.startswith(("python", "node"))])
def test_the_defaults_told_are_those_in_the_code(path: str) -> None:
    code = (EXAMPLES / path).read_text()
    for name, default in re.findall(r"^\| `(GATEWAY_\w+)` \| `([^`]+)` \|", README, re.MULTILINE):
        if name in code:
            assert re.search(rf"{name}\W+{re.escape(default)}\b", code), name


@pytest.mark.parametrize("folder", LOCKS)
def test_packages_of_npm_are_pinned_without_the_address_of_a_registry(folder: str) -> None:
    wanted = json.loads((EXAMPLES / folder / "package.json").read_text())["dependencies"]
    lock = json.loads((EXAMPLES / folder / "package-lock.json").read_text())["packages"]
    assert lock.pop("")["dependencies"] == wanted
    for name, version in wanted.items():
        assert lock[f"node_modules/{name}"]["version"] == version
    for name, package in lock.items():
        assert "resolved" not in package, name
        assert package["integrity"].startswith("sha512-"), name
