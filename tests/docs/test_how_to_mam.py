"""The bridge between a MAM and the gateway: what the MAM is told, whatever goes away meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.free_ports import free_port
from support.how_to_kit import Example, ask
from support.sample_gateway import Sample

PATIENCE = 60.0


class Mam:
    """A MAM that keeps what it is told of its assets."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self._publisher = asyncio.Condition()

    async def patch(self, request: web.Request) -> web.Response:
        told = await request.json()
        assert told["asset"] == request.match_info["asset"]
        async with self._publisher:
            self.told.append(told)
            self._publisher.notify_all()
        return web.Response()

    async def hears(self, asset: str, state: str) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [it for it in self.told if (it["asset"], it["state"]) == (asset, state)]

        async with asyncio.timeout(PATIENCE), self._publisher:
            await self._publisher.wait_for(found)
        return found()[0]


@pytest.fixture
async def mam() -> AsyncIterator[tuple[Mam, str]]:
    mam, app = Mam(), web.Application()
    app.router.add_patch("/assets/{asset}", mam.patch)
    async with TestServer(app) as server:
        yield mam, str(server.make_url("")).rstrip("/")


class Bridge:
    """The running bridge, as the MAM's webhook sees it."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{port}/assets"

    async def post(self, asset: str, **body: Any) -> tuple[int, dict[str, Any]]:
        return await self._answer(lambda: self._session.post(f"{self._url}/{asset}", **body))

    async def get(self, asset: str) -> tuple[int, dict[str, Any]]:
        return await self._answer(lambda: self._session.get(f"{self._url}/{asset}"))

    async def _answer(self, send: Callable[[], Any]) -> tuple[int, dict[str, Any]]:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with send() as answer:
                        return answer.status, await answer.json()
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.1)  # it is starting


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def example(tmp_path: Path, sample: Sample) -> Example:
    return Example("mam_bridge.py", tmp_path, sample)


async def test_the_mam_is_told_of_an_asset_until_it_is_cached(
    example: Example, mam: tuple[Mam, str], session: aiohttp.ClientSession
) -> None:
    (told, url), port = mam, free_port()
    with example.running(PORT=str(port), MAM_URL=url):
        bridge = Bridge(session, port)
        status, asset = await bridge.post("A-1", json={"directories": ["00_Media/Farm"]})
        assert (status, asset["asset"]) == (202, "A-1")
        await told.hears("A-1", "completed")
        assert await bridge.get("A-1") == (
            200, {"asset": "A-1", "state": "completed", "percentage": 100},
        )  # fmt: skip
    percentages = [it["percentage"] for it in told.told]
    assert percentages == sorted(percentages)


async def test_what_happened_while_the_bridge_was_away_is_made_up_for(
    example: Example,
    sample: Sample,
    mam: tuple[Mam, str],
) -> None:
    told, url = mam
    job = await asyncio.to_thread(
        ask, sample, "POST", "/cache/jobs", {"directories": ["02_Audio & Edit"]}
    )
    await asyncio.to_thread(note, example, "A-2", job["jobId"])
    with example.running(PORT=str(free_port()), MAM_URL=url):
        assert (await told.hears("A-2", "completed"))["percentage"] == 100


def note(example: Example, asset: str, job: str) -> None:
    """Leave the bridge's file as one that was killed right after the submit has left it."""
    code = "import sys, mam_bridge; mam_bridge.Assets('bridge.sqlite').begin(*sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-c", code, asset, job],
        cwd=example.folder, env=example.environment, check=True,
    )  # fmt: skip


async def test_a_job_that_is_gone_keeps_no_other_asset_waiting(
    example: Example,
    sample: Sample,
    mam: tuple[Mam, str],
) -> None:
    told, url = mam
    job = await asyncio.to_thread(ask, sample, "POST", "/cache/jobs", {"directories": ["01_VFX"]})
    note(example, "A-3", "6bb4629b-1487-477c-96fe-b762d82a099b")
    note(example, "A-4", job["jobId"])
    with example.running(PORT=str(free_port()), MAM_URL=url):
        await told.hears("A-3", "deleted")
        await told.hears("A-4", "completed")


async def test_what_cannot_be_cached_is_refused_with_the_gateways_sentence(
    example: Example, session: aiohttp.ClientSession
) -> None:
    port = free_port()
    with example.running(PORT=str(port)):
        bridge = Bridge(session, port)
        status, refusal = await bridge.post("A-5", json={"files": [""]})
        assert (status, refusal) == (400, {"error": "Cannot use the path '': it is empty"})
        assert (await bridge.post("A-5", data=b"no json"))[0] == 400
        assert await bridge.get("A-5") == (404, {"error": "Unknown asset"})


async def test_the_mam_is_asked_to_come_back_while_the_gateway_is_away(
    example: Example, session: aiohttp.ClientSession
) -> None:
    port, nowhere = free_port(), f"http://127.0.0.1:{free_port()}"
    with example.running(PORT=str(port), TEAMCACHE_URL=nowhere):
        status, refusal = await Bridge(session, port).post("A-6", json={"files": ["a.mov"]})
    assert status == 503
    assert refusal["error"].startswith("The gateway cannot be reached")


async def test_a_mam_that_is_away_does_not_stop_the_bridge(
    example: Example, session: aiohttp.ClientSession
) -> None:
    port, nowhere = free_port(), f"http://127.0.0.1:{free_port()}"
    with example.running(PORT=str(port), MAM_URL=nowhere):
        bridge = Bridge(session, port)
        await bridge.post("A-7", json={"directories": ["01_VFX"]})
        async with asyncio.timeout(PATIENCE):
            while (await bridge.get("A-7"))[1]["state"] != "completed":
                await asyncio.sleep(0.05)
