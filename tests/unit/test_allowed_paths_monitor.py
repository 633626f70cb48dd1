"""Missing folders in ALLOWED_PATHS are logged at the start."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateway.app import create_app, make_monitors
from gateway.monitors.allowed_paths import AllowedPathsMonitor
from gateway.paths import Filespaces
from gateway.settings import Settings


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]


async def test_a_prefix_that_does_not_exist_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "media" / "01_VFX").mkdir(parents=True)
    (tmp_path / "media" / "out").symlink_to(tmp_path)
    filespaces = Filespaces.single(f"{tmp_path}/media", ["01_VFX", "01_vfx", "out"])
    assert await AllowedPathsMonitor(filespaces).check_once()
    assert warnings(caplog) == [
        "ALLOWED_PATHS names '01_vfx', which does not exist: nothing is allowed by it",
        "ALLOWED_PATHS names 'out', which leads out of the filespace: nothing is allowed by it",
    ]


async def test_nothing_is_logged_before_the_mount_is_available(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = AllowedPathsMonitor(Filespaces.single(f"{tmp_path}/media", ["a", "b"]))
    assert not await monitor.check_once()
    assert warnings(caplog) == []
    (tmp_path / "media" / "a").mkdir(parents=True)
    assert await monitor.check_once()
    [warning] = warnings(caplog)
    assert "'b', which does not exist" in warning


@pytest.mark.parametrize("allowed", [(), ("01_VFX",)])
async def test_the_monitor_runs_only_with_allowed_paths(allowed: tuple[str, ...]) -> None:
    app = create_app(Settings(allowed_paths=allowed))
    kinds = [type(it) for it in make_monitors(app)]
    assert (AllowedPathsMonitor in kinds) is bool(allowed)
