"""Faults on the way of job events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.http import app_keys
from gateway.settings import Settings
from support.index_rows import run

KILL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'LISTEN%%'
"""


@pytest.fixture
def deafness(api: Any, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set it to let the gateway listen again; it is deaf from its next loss on."""
    heard = asyncio.Event()
    listen = api.server.app[app_keys.DATABASE].listen

    async def late(*channels: str, **options: Any) -> Any:
        await heard.wait()
        async for notification in listen(*channels, **options):
            yield notification

    monkeypatch.setattr(api.server.app[app_keys.DATABASE], "listen", late)
    return heard


def notify(settings: Settings, channel: str, payload: str) -> None:
    run(settings, "SELECT pg_notify(%s, %s)", channel, payload)
