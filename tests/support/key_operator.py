"""An operator who manages keys on the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.key_secret import is_secret
from gateway.settings import Settings
from support.cli_kit import Ended, invoke
from support.processes import environment


class Operator:
    """Somebody at a shell whose environment leads to the database."""

    def __init__(self, settings: Settings, home: Path) -> None:
        self.settings = settings
        self.env = environment(settings, HOME=str(home), AUDIT_LOG=str(home / "audit"))
        self.audit = home / "audit"

    async def keys(self, *arguments: str, **env: str) -> Ended:
        return await asyncio.to_thread(invoke, ["keys", *arguments], b"", self.env | env)

    async def create(self, *arguments: str) -> str:
        done = await self.keys("create", *arguments)
        assert done.code == 0, done.errors
        secret = done.output.strip()
        assert is_secret(secret)
        return secret

    async def listed(self) -> list[dict[str, Any]]:
        keys: list[dict[str, Any]] = (await self.keys("list", "--json")).json()["keys"]
        return keys

    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit.read_text().splitlines()]


@pytest.fixture
def operator(database_settings: Settings, tmp_path: Path) -> Operator:
    return Operator(database_settings, tmp_path)
