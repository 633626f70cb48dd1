"""Requests that submit jobs."""

from __future__ import annotations

from typing import Any

JOBS = "/api/v1/cache/jobs"


async def refuse(api: Any, status: int, **body: Any) -> dict[str, Any]:
    """Submit what must be refused; gives the answer, whose shape is checked."""
    response = await api.post(JOBS, json=body)
    answer: dict[str, Any] = await response.json()
    assert response.status == status, answer
    assert set(answer) <= {"success", "error", "details"}
    assert answer["success"] is False
    return answer
