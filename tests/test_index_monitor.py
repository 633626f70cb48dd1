"""Standalone's index: built as soon as there is something, then kept up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import IndexRefused
from gateway.index_state import IndexState
from gateway.monitors.index import UNBUILT_SECONDS, IndexMonitor
from gateway.settings import Settings


@pytest.mark.parametrize(("interval", "is_last"), [(900.0, False), (0.0, True)])
async def test_a_mount_that_comes_late_is_looked_for_often(
    database_settings: Settings, tmp_path: Path, interval: float, is_last: bool
) -> None:
    mount, state = tmp_path / "late", IndexState()
    changes = {"container_mount_point": str(mount), "index_interval": interval}
    monitor = IndexMonitor(database_settings.model_copy(update=changes), state)
    with pytest.raises(IndexRefused):
        await monitor.check_once()
    assert (monitor.interval, state.built) == (UNBUILT_SECONDS, False)

    mount.mkdir()
    (mount / "a.mov").write_bytes(b"x")
    assert await monitor.check_once() is is_last
    assert (monitor.interval, state.built) == (interval, True)
    assert state.report() == {"status": "ready", "entries": 2}
