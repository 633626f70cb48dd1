"""Requests that resolve paths."""

from __future__ import annotations

from typing import Any

RESOLVE = "/api/v1/paths/resolve"

REFUSED = {
    "resolved": None,
    "sendable": None,
    "filespace": None,
    "rule": None,
    "indexed": False,
    "type": None,
    "size": None,
}


async def resolve(api: Any, *paths: str) -> list[dict[str, Any]]:
    response = await api.post(RESOLVE, json={"paths": paths})
    answer = await response.json()
    assert response.status == 200, answer
    assert set(answer) == {"success", "paths"}
    assert answer["success"] is True
    assert [it["path"] for it in answer["paths"]] == list(paths)
    found: list[dict[str, Any]] = answer["paths"]
    return found
