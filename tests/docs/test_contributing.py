"""What the pages for contributors name is there, and in the order that the linter keeps."""

from __future__ import annotations

import re
import tomllib

import pytest

from support import ROOT

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in (CONTRIBUTING, ARCHITECTURE)}
NAMED = sorted({(page, name) for page, text in TEXTS.items() for name in re.findall(
    r"`((?:gateway|tests|docs|bench|deploy)/[\w./]*|[\w-]+\.(?:toml|md))`", text)})  # fmt: skip
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LAYERS = [
    layer.split(" : ") for layer in CONTRACTS["tool"]["importlinter"]["contracts"][0]["layers"]
]


@pytest.mark.parametrize(("page", "name"), NAMED)
def test_a_file_that_a_page_names_is_there(page: str, name: str) -> None:
    assert (ROOT / name).exists(), f"{page} names {name}"


def test_the_table_lists_each_room_in_the_order_of_the_layers() -> None:
    rooms = re.findall(r"^\| `(\w+)` \|", TEXTS["CONTRIBUTING.md"], re.MULTILINE)
    floor = {room: number for number, layer in enumerate(LAYERS) for room in layer}
    assert set(rooms) == set(floor)
    assert [floor[room] for room in rooms] == sorted(floor[room] for room in rooms)


def test_the_picture_has_the_layers_from_the_top() -> None:
    picture = re.search(r"```mermaid\nflowchart.*?```", TEXTS["architecture.md"], re.DOTALL)
    assert picture
    labels = re.findall(r'\w+\["([^"]+)"\]|\b(cli|standalone|handlers|http|monitors)\b', picture[0])
    drawn = [(label or word).split(" · ") for label, word in labels]
    seen = [layer for number, layer in enumerate(drawn) if layer not in drawn[:number]]
    assert seen == LAYERS


def test_names_that_the_how_tos_rely_on_are_in_the_files() -> None:
    for name, file in [
        ("ROUTES", "gateway/app.py"),
        ("make_monitors", "gateway/app.py"),
        ("COMMANDS", "gateway/cli/__init__.py"),
        ("class Monitor", "gateway/monitors/loop.py"),
        ("class JobView", "gateway/client/models.py"),
        ("class Job:", "gateway/job.py"),
        ("-- unless:", "gateway/database/sql/migrations/0012_throttle.sql"),
    ]:
        assert name in (ROOT / file).read_text(encoding="utf-8"), file
