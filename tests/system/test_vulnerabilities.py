"""What CI says of known vulnerabilities: found, none, or that nobody could be asked."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from support import ROOT
from support.live_gateway import free_port
from support.optional_programs import require_package

SCRIPT = ROOT / ".ci" / "vulnerabilities.py"
WEAK = {
    "id": "PYSEC-2099-1",
    "summary": "It lets anybody in",
    "affected": [
        {
            "package": {"name": "alpha", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2"}]}],
        }
    ],
}


class Service:
    """Speaks as api.osv.dev does; ``status`` and ``text`` are said instead, if set."""

    def __init__(self) -> None:
        self.weak: dict[str, Any] = {}
        self.asked: list[str] = []
        self.status = 200
        self.text = ""

    async def answer(self, request: web.Request) -> web.Response:
        name = json.loads(await request.read())["package"]["name"]
        self.asked.append(name)
        if self.text or self.status != 200:
            return web.Response(status=self.status, text=self.text)
        return web.json_response({"vulns": [self.weak[name]]} if name in self.weak else {})


@pytest.fixture
async def service() -> AsyncIterator[tuple[Service, str]]:
    require_package("pip_audit")
    made = Service()
    app = web.Application()
    app.router.add_post("/v1/query", made.answer)
    async with TestServer(app) as server:
        yield made, str(server.make_url("/v1/query"))


async def check(url: str, requirements: Path | None = None) -> tuple[int | None, str]:
    """How it ends, and what it says."""
    listed = [] if requirements is None else ["--requirements", requirements]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, SCRIPT, "--osv-url", url, *listed),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


@pytest.fixture
def two(tmp_path: Path) -> Path:
    listed = tmp_path / "requirements.txt"
    listed.write_text("alpha==1.0\nbeta==2.0\n")
    return listed


async def test_where_there_is_none_it_says_how_many_packages_were_looked_up(
    service: tuple[Service, str], two: Path
) -> None:
    assert await check(service[1], two) == (0, "2 packages were looked up; vulnerabilities: 0\n")


async def test_one_that_is_found_is_named_and_fails(
    service: tuple[Service, str], two: Path
) -> None:
    service[0].weak = {"alpha": WEAK}
    code, said = await check(service[1], two)
    assert code == 1
    assert said.splitlines() == [
        "alpha 1.0: PYSEC-2099-1, mended in 1.2",
        "2 packages were looked up; vulnerabilities: 1",
    ]


async def test_everything_that_is_installed_is_looked_up(service: tuple[Service, str]) -> None:
    code, said = await check(service[1])
    assert code == 0, said
    assert {"aiohttp", "psycopg2-binary", "pyjwt", "pytest"} <= set(service[0].asked)
    assert "pip" not in service[0].asked


@pytest.mark.parametrize(
    ("status", "text"),
    [(503, "later"), (403, "not from here"), (404, ""), (200, "<html>Log in first</html>")],
)
async def test_a_service_that_does_not_answer_is_told_and_does_not_fail(
    service: tuple[Service, str], two: Path, status: int, text: str
) -> None:
    service[0].status, service[0].text = status, text
    code, said = await check(service[1], two)
    assert (code, said.splitlines()[-1]) == (
        0,
        "NOT CHECKED for vulnerabilities: no service could be asked",
    )


async def test_without_a_network_it_says_so_and_does_not_fail(two: Path) -> None:
    require_package("pip_audit")
    code, said = await check(f"http://127.0.0.1:{free_port()}/", two)
    assert (code, said.count("NOT CHECKED")) == (0, 1)


async def test_a_fault_of_the_checker_is_not_taken_for_a_missing_network(
    service: tuple[Service, str], two: Path
) -> None:
    two.write_text("alpha==1.0\nalpha==1.1\n")
    code, said = await check(service[1], two)
    assert code == 2
    assert "duplicate requirements" in said
    service[0].text = '{"error": "odd"}'
    two.write_text("alpha==1.0\n")
    assert (await check(service[1], two))[0] == 2


@pytest.mark.parametrize(
    ("packages", "code", "says"),
    [
        ([{"name": "alpha", "skip_reason": "not found"}], 0, "NOT CHECKED for vulnerabilities"),
        (
            [{"name": "alpha", "skip_reason": "-"}, {"name": "b", "version": "1", "vulns": []}],
            0,
            "1 packages were looked up, and 1 are NOT CHECKED: alpha",
        ),
    ],
)
async def test_packages_that_the_service_does_not_know_do_not_count_as_safe(
    tmp_path: Path, two: Path, packages: Any, code: int, says: str
) -> None:
    # A mirror of PyPI knows no vulnerabilities: pip-audit finds none then, and ends with 0.
    (tmp_path / "pip_audit.py").write_text(
        f"import json; print(json.dumps({{'dependencies': {packages!r}}}))"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, SCRIPT, "--requirements", two),
        env={"PYTHONPATH": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == code
    assert says in said.decode()
