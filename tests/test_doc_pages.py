"""The pages in docs/: what they say is what the code does."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from docs.generate import DOCS, MARKED, PARTS, regenerated
from gateway.app import make_filespaces
from gateway.paths.client_roots import CLIENT_ROOTS
from gateway.settings import Settings
from tests.path_cases import LISTED

PAGES = sorted(DOCS.rglob("*.md"))


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_generated_parts_are_as_they_would_be_made_now(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert regenerated(text) == text, "run `make docs`"


def test_every_part_that_can_be_generated_is_shown() -> None:
    shown = {part[1] for page in PAGES for part in MARKED.findall(page.read_text(encoding="utf-8"))}
    assert shown == set(PARTS)


def test_the_example_of_listed_filespaces_is_the_one_that_the_cases_are_of() -> None:
    text = text_of("explanation/paths.md")
    example = text.split("```toml\n")[1].split("```")[0]
    assert make_filespaces(Settings(**tomllib.loads(example))) == LISTED


def test_every_root_that_is_known_everywhere_is_named() -> None:
    paragraph = next(
        it
        for it in text_of("explanation/paths.md").split("\n\n")
        if it.startswith("The roots that are known")
    )
    named = set(" ".join(paragraph.split()).split("`")[1::2]) - {"<x>"}
    written = {
        root.folder.replace("<any>", "<x>")
        .replace("//<x>", r"\\server", 1)
        .replace("/mnt/<letter>", "/mnt/c")
        .replace("<letter>:", "X:/")
        .replace("X://", "X:/")
        for root in CLIENT_ROOTS
    }
    assert {it.replace("\\", "/") for it in named} == {it.replace("\\", "/") for it in written}
