"""Standalone's index: built as soon as there is something, then kept up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import IndexRefused
from gateway.index_state import IndexState
from gateway.monitors.index import UNBUILT_SECONDS, IndexMonitor
from gateway.settings import Settings
from gateway.wire import iso_time


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
    assert state.report()["status"] == "refused"

    mount.mkdir()
    (mount / "a.mov").write_bytes(b"x")
    assert await monitor.check_once() is is_last
    assert (monitor.interval, state.built) == (interval, True)
    assert state.last_scan is not None
    assert state.report() == {
        "status": "ready",
        "entries": 2,
        "lastScan": iso_time(state.last_scan),
    }


async def test_what_is_skipped_is_told_once(
    database_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = database_settings.model_copy(update={"container_mount_point": str(tmp_path)})
    monitor = IndexMonitor(settings, IndexState())
    for number in range(7):
        (tmp_path / f"link {number}").symlink_to("nothing")
    await monitor.check_once()
    assert [text.partition(" /")[0] for text in skipped(caplog)] == [
        *["index: skipped"] * 5,
        "index: skipped 2 more",
    ]
    await monitor.check_once()
    assert skipped(caplog) == []
    (tmp_path / "link 3").unlink()
    (tmp_path / "new").symlink_to("nothing")
    await monitor.check_once()
    assert skipped(caplog) == [f"index: skipped {tmp_path}/new: the link leads nowhere"]


def skipped(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was told of files that were skipped, since the last call."""
    found = [r.getMessage() for r in caplog.records if "skipped" in r.getMessage()]
    caplog.clear()
    return found
