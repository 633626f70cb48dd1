"""How the dashboard is served: its files, their headers, and where it is mounted."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.app import create_app
from gateway.settings import Settings
from gateway.web import load_web_files
from support import ROOT
from support.database import StartApi
from support.optional_programs import require_package

WEB = ROOT / "gateway" / "web"
MODULES = sorted(path.name for path in WEB.glob("*.js"))
PAGE = (WEB / "index.html").read_text(encoding="utf-8")


@pytest.fixture
async def api(start_shared_api: StartApi) -> Any:
    return await start_shared_api()


@pytest.mark.parametrize("path", ["/", *(f"/dashboard/{name}" for name in MODULES)])
async def test_nothing_is_allowed_that_is_not_needed(api: Any, path: str) -> None:
    response = await api.get(path)
    assert response.status == 200
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy and "*" not in policy and "data:" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/dashboard/main.js", "text/javascript; charset=utf-8"),
        ("/dashboard/style.css", "text/css; charset=utf-8"),
        ("/dashboard/icon.svg", "image/svg+xml; charset=utf-8"),
    ],
)
async def test_a_file_that_has_not_changed_is_not_sent_again(
    api: Any, path: str, kind: str
) -> None:
    first = await api.get(path)
    assert first.headers["Content-Type"] == kind
    assert first.headers["Cache-Control"] == "no-cache"
    again = await api.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = await api.get(path, headers={"If-None-Match": '"of another version"'})
    assert other.status == 200


@pytest.mark.parametrize(
    "name", ["nothing.js", "__init__.py", "index.html", "..%2fapp.py", "%2e%2e/app.py", "MAIN.js"]
)
async def test_nothing_else_is_served(api: Any, name: str) -> None:
    response = await api.get(f"/dashboard/{name}")
    assert response.status == 404
    assert (await response.json())["error"] == "Not found"


def test_the_page_loads_its_own_files_and_none_besides() -> None:
    loaded = re.findall(r'(?:href|src)="dashboard/([^"]+)"', PAGE)
    assert sorted({name for name in loaded if name.endswith(".js")}) == MODULES
    assert set(loaded) == load_web_files().keys() - {"index.html"}
    everything = "".join(path.read_text(encoding="utf-8") for path in WEB.glob("*.*"))
    addresses = set(re.findall(r"(?:https?|wss?)://[^\s'\"]+", everything))
    assert addresses == {"http://www.w3.org/2000/svg"}


def test_no_text_is_ever_taken_for_markup() -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\bon\w+="
    )
    for name in MODULES:
        assert not re.search(forbidden, (WEB / name).read_text(encoding="utf-8")), name
    assert not re.search(r"\son\w+=|style=|<style", PAGE)


def test_the_key_is_kept_for_the_session_alone() -> None:
    for name in MODULES:
        text = (WEB / name).read_text(encoding="utf-8")
        assert not re.search(r"localStorage|document\.cookie|indexedDB", text)
        assert ("sessionStorage" in text) == (name == "session.js")


def test_the_wheel_brings_every_file(tmp_path: Path) -> None:
    require_package("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"gateway/web/{name}" for name in load_web_files()} <= names


async def test_the_way_to_the_slash_is_relative(
    aiohttp_client: Any, shared_database: Settings
) -> None:
    host = web.Application()
    host.add_subapp("/a/b", create_app(shared_database))
    client = await aiohttp_client(host)
    response = await client.get("/a/b", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (308, "./b/")
    assert (await client.get("/a/b")).url.path == "/a/b/"
