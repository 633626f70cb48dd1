"""While the first index is being built, what is not found may only be not known yet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.app import create_app
from gateway.index.state import IndexState
from gateway.settings import DEMO_KEY, Settings
from support.database import UNLIMITED, change, wait_until_ready


async def test_while_the_first_index_is_being_built_it_is_said_that_it_is(
    aiohttp_client: Any, database_settings: Settings
) -> None:
    index = IndexState()
    east, west = index.of("/east"), index.of("/west")
    east.progress.entries = west.progress.entries = 2000
    app = create_app(change(database_settings, UNLIMITED), index=index)
    api = await aiohttp_client(app, headers={"X-API-Key": DEMO_KEY})
    await wait_until_ready(api)

    async def refusal() -> str:
        response = await api.post("/api/v1/cache/jobs", json={"directories": ["Farm"]})
        assert response.status == 400
        sentence: str = (await response.json())["error"]
        return sentence

    assert await refusal() == (
        "No files found in 'Farm' (the first index is still being built: 4,000 entries so far)"
    )
    for filespace in (east, west):
        filespace.succeeded(0, datetime.now(UTC))
    assert await refusal() == "No files found in 'Farm'"
