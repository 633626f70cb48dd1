"""What the pages in docs/ tell to do is done, in order, against a gateway on the sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cloudwatch_server import running_cloudwatch
from live_gateway import free_port
from optional_programs import require_program
from page_kit import Reader, assert_command_exists, fits, names_of, steps_of
from programs import variables
from sample_gateway import Sample, running_sample
from test_doc_pages import DOCS, PAGES, relative_name

from gateway.settings import Settings

# A page is many commands, and one waits for a lease to run out.
pytestmark = pytest.mark.timeout(300)

# What these pages speak of is more than a gateway on the sample.
OTHERS = ("embed", "cloudwatch", "several-machines", "signed-requests")
ALONE = [page for page in PAGES if page.stem not in OTHERS]
RUNNABLE = [page for page in ALONE if steps_of(page.read_text(encoding="utf-8"))]
NAMED = [line for page in PAGES for line in names_of(page.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    with running_sample(tmp_path_factory.mktemp("sample")) as running:
        yield running


@pytest.mark.parametrize("page", RUNNABLE, ids=relative_name)
def test_a_page_does_what_it_says(page: Path, sample: Sample, tmp_path: Path) -> None:
    Reader(tmp_path, sample.port).follow(page.read_text(encoding="utf-8"), {})


def test_the_page_on_embedding_does_what_it_says(
    database_settings: Settings, sample: Sample, tmp_path: Path
) -> None:
    given = " ".join(f"{name}={value}" for name, value in variables(database_settings).items())
    reader = Reader(tmp_path, sample.port, {"DB_HOST=localhost": given})
    reader.follow((DOCS / "how-to" / "embed.md").read_text(encoding="utf-8"), {})


def test_the_page_on_several_machines_does_what_it_says(
    empty_database: Settings, sample: Sample, tmp_path: Path
) -> None:
    port = free_port()
    exported = [f"export {it}={value}" for it, value in variables(empty_database).items()]
    changes = {
        "export DB_HOST=localhost": "\n".join(exported),
        "/mnt/filespace": str(sample.media),
        "teamcache-gateway serve": f"teamcache-gateway serve --api-gateway-port {port}",
    }
    reader = Reader(tmp_path, port, changes)
    reader.follow((DOCS / "how-to" / "several-machines.md").read_text(encoding="utf-8"), {})


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
