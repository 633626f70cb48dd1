"""What the pages in docs/ tell to do is done, in order, against a gateway on the sample."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.free_ports import free_port
from docs.generate import DOCS
from gateway.settings import Settings
from support.cloudwatch_server import running_cloudwatch
from support.optional_programs import require_program
from support.page_kit import (
    PAGES,
    Reader,
    assert_command_exists,
    fits,
    names_of,
    relative_name,
    steps_of,
)
from support.programs import variables
from support.sample_gateway import Sample, running_sample

# A page is many commands, and one waits for a lease to run out.
pytestmark = pytest.mark.timeout(300)

# What these pages speak of is more than a gateway on the sample.
OTHERS = ("embed", "cloudwatch", "signed-requests")
# These begin with an empty database, and start a gateway of their own.
OF_THEIR_OWN = (
    "audit-log",
    "bearer-tokens",
    "behind-a-proxy",
    "beside-teamcache-manager",
    "https",
    "several-filespaces",
    "several-machines",
)
ALONE = [page for page in PAGES if page.stem not in (*OTHERS, *OF_THEIR_OWN)]
RUNNABLE = [page for page in ALONE if steps_of(page.read_text(encoding="utf-8"))]
NAMED = [line for page in PAGES for line in names_of(page.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    with running_sample(tmp_path_factory.mktemp("sample")) as running:
        yield running


@pytest.mark.parametrize("page", RUNNABLE, ids=relative_name)
def test_a_page_does_what_it_says(page: Path, sample: Sample, tmp_path: Path) -> None:
    reader = Reader(tmp_path, sample.port, folders(sample))
    reader.follow(page.read_text(encoding="utf-8"), {})


def folders(sample: Sample) -> dict[str, str]:
    """Those that the pages speak of, and where they are here."""
    return {
        "/mnt/filespace": str(sample.media),
        "/var/lib/teamcache-gateway": str(sample.data),
        "/media/lucidlink-1": str(sample.media / "00_Media"),
        "/media/lucidlink-2": str(sample.media / "01_VFX"),
    }


def test_the_page_on_embedding_does_what_it_says(
    database_settings: Settings, sample: Sample, tmp_path: Path
) -> None:
    given = " ".join(f"{name}={value}" for name, value in variables(database_settings).items())
    reader = Reader(tmp_path, sample.port, {"DB_HOST=localhost": given})
    reader.follow((DOCS / "how-to" / "embed.md").read_text(encoding="utf-8"), {})


@pytest.mark.parametrize("name", OF_THEIR_OWN)
def test_a_page_that_starts_a_gateway_does_what_it_says(
    name: str, empty_database: Settings, sample: Sample, tmp_path: Path
) -> None:
    if name == "https":
        require_program("openssl")
    if name == "behind-a-proxy":
        require_program("nginx")
    port = free_port()
    given = " ".join(f"{it}={value}" for it, value in variables(empty_database).items())
    changes = folders(sample) | {
        "DB_HOST=localhost": given,
        "teamcache-gateway serve": f"teamcache-gateway serve --api-gateway-port {port}",
    }
    reader = Reader(tmp_path, port, changes)
    reader.follow((DOCS / "how-to" / f"{name}.md").read_text(encoding="utf-8"), {})


def test_the_page_on_signed_requests_does_what_it_says(sample: Sample, tmp_path: Path) -> None:
    for program in ("ssh-keygen", "openssl", "curl"):
        require_program(program)
    reader = Reader(tmp_path, sample.port, {"/var/lib/teamcache-gateway": str(sample.data)})
    reader.follow((DOCS / "how-to" / "signed-requests.md").read_text(encoding="utf-8"), {})


def test_the_page_on_cloudwatch_does_what_it_says(sample: Sample, tmp_path: Path) -> None:
    with running_cloudwatch() as cloudwatch:
        reader = Reader(tmp_path, sample.port)
        text = (DOCS / "how-to" / "cloudwatch.md").read_text(encoding="utf-8")
        reader.follow(text, cloudwatch.environment)
    assert [it.operation for it in cloudwatch.requests] == [
        "PutMetricData", "PutMetricAlarm", "PutMetricData",
    ]  # fmt: skip
    assert {it.region for it in cloudwatch.requests} == {"eu-central-1"}


@pytest.mark.parametrize("line", NAMED)
def test_what_cannot_be_run_here_names_what_there_is(line: str) -> None:
    assert_command_exists(line)


def test_a_command_that_nobody_knows_is_noticed() -> None:
    with pytest.raises(AssertionError, match="nobody knows whether this works"):
        assert_command_exists("conjure --media /mnt")
    with pytest.raises(AssertionError):
        assert_command_exists("teamcache-gateway serve --no-such-option")
    with pytest.raises(AssertionError):
        assert_command_exists("make coffee")


@pytest.mark.parametrize(
    ("expected", "output", "yes"),
    [
        ("Job …: 3 files", "Job 6b.b: 3 files\n", True),
        ("Job …: 3 files", "Job 6b.b: 4 files", False),
        ("Job …", "Job 1\nand more", False),
        ("a\n…\nb", "a\nb c\n\nd\nb", True),
        ("…\nb", "a\nb", True),
        ("…\nb", "b", True),
        ("a\n…", "b\na\n", False),
        ("[x] (y)*", "[x] (y)*", True),
    ],
)
def test_what_is_said_is_compared_with_the_page(expected: str, output: str, yes: bool) -> None:
    assert fits(expected, output) is yes


FAILING = """
```bash
echo one
```

```text
two
```
"""


def test_a_page_that_says_something_else_than_what_happens_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="one"):
        Reader(tmp_path, 1).follow(FAILING, {})
    Reader(tmp_path, 1).follow(FAILING.replace("two", "one"), {})


def test_a_page_whose_command_fails_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        Reader(tmp_path, 1).follow("```bash\nfalse\necho well\n```\n", {})


def test_a_page_that_fails_leaves_nothing_running(tmp_path: Path) -> None:
    """The pipe ends when the last one that could write to it does."""
    os.mkfifo(tmp_path / "alive")
    page = "```bash\nexec 3> alive\nsleep 1000 >&3 &\nfalse\n```\n"
    reading = subprocess.Popen(["cat", "alive"], cwd=tmp_path)
    try:
        with pytest.raises(AssertionError):
            Reader(tmp_path, 1).follow(page, {})
        assert reading.wait(30) == 0
    finally:
        reading.kill()
