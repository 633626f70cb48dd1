"""Background tasks end with their context, even if they swallow a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from gateway.runtime import tasks
from gateway.runtime.tasks import background_task, cancel_and_wait


async def lose_cancellations(count: int, started: asyncio.Event) -> None:
    """As asyncio.wait_for may before Python 3.12, so often."""
    started.set()
    for _ in range(count):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    await asyncio.Event().wait()


@pytest.mark.parametrize("lost", [0, 1, 3])
async def test_work_that_swallows_cancellations_ends_with_its_context(
    lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_SECONDS", 0.01)
    started = asyncio.Event()
    async with asyncio.timeout(30):
        async with background_task(lose_cancellations(lost, started)) as task:
            await started.wait()
    assert task.cancelled()


async def test_work_that_never_ends_is_abandoned(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_SECONDS", 0.01)
    started = asyncio.Event()
    many = tasks.CANCEL_ATTEMPTS + 1
    async with asyncio.timeout(30):
        async with background_task(lose_cancellations(many, started), "the deaf one") as task:
            await started.wait()
    assert not task.done()
    assert "the deaf one does not end" in caplog.text
    await cancel_and_wait(task)


async def fail() -> None:
    raise KeyError("broken")


async def test_what_the_work_raises_is_raised_at_the_end_of_the_context() -> None:
    with pytest.raises(KeyError, match="broken"):
        async with background_task(fail()) as task:
            await asyncio.wait({task})


async def test_finished_work_is_no_error() -> None:
    async with background_task(asyncio.sleep(0)) as task:
        await asyncio.wait({task})
    assert not task.cancelled()
