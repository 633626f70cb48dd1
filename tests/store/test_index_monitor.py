"""The index monitor: builds the index as soon as there are files, then keeps it up to date."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.errors import IndexRefused
from gateway.formatting import iso_time
from gateway.index.state import FilespaceIndex, IndexState
from gateway.monitors.index import UNBUILT_SECONDS, IndexMonitor, index_monitors
from gateway.monitors.loop import running
from gateway.settings import Settings
from gateway.settings.filespace_settings import FilespaceSettings
from support.indexer_tools import until
from support.worker_kit import write_tree


@pytest.mark.parametrize(("interval", "is_last"), [(900.0, False), (0.0, True)])
async def test_a_late_mount_is_checked_for_often(
    database_settings: Settings, tmp_path: Path, interval: float, is_last: bool
) -> None:
    mount, state = tmp_path / "late", IndexState()
    changes = {"container_mount_point": str(mount), "index_interval": interval}
    settings = database_settings.model_copy(update=changes)
    [monitor] = index_monitors(settings, state, "index {}".format)
    with pytest.raises(IndexRefused):
        await monitor.check_once()
    assert (monitor.interval, state.built) == (UNBUILT_SECONDS, False)
    assert state.report()["status"] == "refused"

    mount.mkdir()
    (mount / "a.mov").write_bytes(b"x")
    assert await monitor.check_once() is is_last
    assert (monitor.interval, state.built) == (interval, True)
    last_scan = state.of(str(mount)).last_scan
    assert state.report() == {
        "status": "ready",
        "entries": 2,
        "lastScan": iso_time(last_scan),
    }


async def test_an_unavailable_mount_does_not_delay_other_filespaces(
    database_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    names = ("away", "there", "emptied")
    listed = tuple(FilespaceSettings(name=it, mount_point=str(tmp_path / it)) for it in names)
    changes = {"filespaces": listed, "index_interval": 0.1}
    state = IndexState()
    write_tree(tmp_path, {"there/a.mov": 1, "emptied/b.mov": 1, "emptied/c.mov": 1})
    monitors = index_monitors(
        database_settings.model_copy(update=changes), state, "rescan {}".format
    )
    assert [monitor.name for monitor in monitors] == [f"index-{name}" for name in names]
    async with AsyncExitStack() as stack:
        for monitor in monitors:
            await stack.enter_async_context(running(monitor))
        await until(lambda: state.of(str(tmp_path / "emptied")).built)
        await until(lambda: state.of(str(tmp_path / "there")).built)
        # Atomically: a scan in between would index the rest.
        (tmp_path / "emptied").rename(tmp_path / "elsewhere")
        (tmp_path / "emptied").mkdir()
        (tmp_path / "there/d.mov").touch()
        await until(lambda: "would vanish" in state.report().get("error", ""))
        await until(lambda: state.of(str(tmp_path / "there")).entries == 3)
    report = state.report()
    assert report["error"].startswith(f"{tmp_path}/away does not exist; 2 of the 2 indexed entries")
    assert f"below {tmp_path}/emptied would vanish" in report["error"]
    assert (report["status"], report["entries"], report["lastScan"]) == ("refused", 6, None)
    assert "index-there: 1 files, 2 added" in caplog.text
    assert f"rescan {tmp_path}/emptied --allow-empty" in caplog.text


async def test_a_skipped_file_is_logged_once(
    database_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = database_settings.model_copy(update={"container_mount_point": str(tmp_path)})
    monitor = IndexMonitor(settings, str(tmp_path), FilespaceIndex())
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
    """The warnings of skipped files since the last call."""
    found = [r.getMessage() for r in caplog.records if "skipped" in r.getMessage()]
    caplog.clear()
    return found
