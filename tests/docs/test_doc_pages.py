"""The pages in docs/: what they say is what the code does."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from docs.generate import DOCS, FILE, MARKED, PARTS, regenerated
from docs.metrics_pages import series
from docs.settings_pages import groups
from gateway.cli import USING
from gateway.cli.client_settings import NAMES
from gateway.cli.exit_codes import ExitCode
from gateway.metrics.prometheus import PREFIX
from gateway.paths.client_roots import CLIENT_ROOTS
from gateway.settings import Settings
from gateway.settings.filespaces import make_filespaces
from support.page_kit import PAGES, anchors_of, blocks_of, links_of, relative_name
from support.path_cases import LISTED

LINKING = [
    *PAGES,
    *(
        DOCS.parent / it
        for it in ("README.md", "SECURITY.md", "CHANGELOG.md", "examples/README.md")
    ),
]
HOW_TO_FILES = sorted((DOCS.parent / "examples" / "how-to").glob("*.*"))
PROMETHEUS = (DOCS.parent / "gateway" / "metrics" / "prometheus.py").read_text(encoding="utf-8")


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=relative_name)
def test_generated_parts_are_as_they_would_be_made_now(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert regenerated(text) == text, "run `make docs`"


def test_every_part_that_can_be_generated_is_shown() -> None:
    shown = {part[1] for page in PAGES for part in MARKED.findall(page.read_text(encoding="utf-8"))}
    assert {name for name in shown if not name.startswith(FILE)} == set(PARTS)


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = {file for file, _ in links_of(text_of("index.md"))}
    assert listed == {it.relative_to(DOCS).as_posix() for it in PAGES} - {"index.md"}


def test_every_file_for_a_how_to_is_shown_in_one() -> None:
    shown = {part[1] for page in PAGES for part in MARKED.findall(page.read_text(encoding="utf-8"))}
    files = {it.relative_to(DOCS.parent).as_posix() for it in HOW_TO_FILES if it.is_file()}
    assert files
    assert files <= {name.removeprefix(FILE) for name in shown if name.startswith(FILE)}


@pytest.mark.parametrize("page", LINKING, ids=relative_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for file, anchor in links_of(text):
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), file
        assert not anchor or anchor in anchors_of(target.read_text(encoding="utf-8")), anchor


@pytest.mark.parametrize("page", PAGES, ids=relative_name)
def test_what_is_shown_of_a_language_is_of_it(page: Path) -> None:
    for block in blocks_of(page.read_text(encoding="utf-8")):
        match block.language:
            case "python":
                compile(block.text, page.name, "exec")
            case "json":
                json.loads(block.text)
            case "toml":
                tomllib.loads(block.text)
            case "yaml":
                yaml.safe_load(block.text)
            case language:
                assert language in ("bash", "text", "mermaid", "nginx"), language


def test_the_settings_are_all_in_their_reference() -> None:
    assert [name for _, names in groups() for name in names] == list(Settings.model_fields)


@pytest.mark.parametrize("name", ["reference/cli.md", "how-to/command-line.md"])
def test_every_exit_code_that_a_command_tells_is_told(name: str) -> None:
    listed = re.findall(r"^\| `(\d+)`", text_of(name), re.MULTILINE)
    unsaid = {ExitCode.TERMINATED, ExitCode.BROKEN_PIPE}
    assert list(map(int, listed)) == [code for code in ExitCode if code not in unsaid]


def test_the_page_on_the_command_line_has_every_command_and_every_name_of_its_file() -> None:
    text = text_of("how-to/command-line.md")
    assert re.findall(r"^\| `([a-z]+)", text, re.MULTILINE) == list(USING)
    [file] = [it.text for it in blocks_of(text) if it.language == "toml"]
    assert tuple(tomllib.loads(file)) == NAMES
    assert "`token` in your file" in " ".join(text.split())


@pytest.mark.parametrize("page", PAGES, ids=relative_name)
def test_settings_that_a_page_shows_are_settings(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in blocks_of(text):
        if block.language == "toml" and page.stem != "command-line":
            Settings(**tomllib.loads(block.text))


def test_every_library_that_is_asked_for_has_its_reason() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["embedded"]]
    names = {re.match(r"[\w-]+", it)[0].lower() for it in wanted}  # type: ignore[index]
    cells = re.findall(r"^\| ([^|]+) \|", text_of("explanation/libraries.md"), re.MULTILINE)
    told = {name for cell in cells[1:] for name in re.findall(r"[\w-]{3,}", cell.lower())}
    assert {name.removesuffix("-binary") for name in names} <= told


def test_the_series_that_are_measured_are_all_in_the_reference() -> None:
    """The class has more methods that collect than the reference may know of."""
    declared = set(re.findall(r"_(?:gauge|value|counter)\(\s*\"(\w+)\"", PROMETHEUS))
    assert {f"{PREFIX}_{name}" for name in declared} <= {
        name.removesuffix("_total") for name in series()
    }


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
