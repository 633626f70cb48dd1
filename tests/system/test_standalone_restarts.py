"""PostgreSQL that ends by itself is started again soon, one that cannot be started less often."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import EmbeddedPostgresError
from gateway.standalone import run
from gateway.standalone.postgres import EmbeddedPostgres


async def test_one_that_cannot_be_started_is_tried_less_often(public_folder: Path) -> None:
    binaries = public_folder / "nothing"
    server = EmbeddedPostgres(public_folder, database="one", user="one", bin_dir=binaries)
    monitor = run._PostgresMonitor(server)
    with pytest.raises(EmbeddedPostgresError):
        await monitor.check_once()
    assert monitor.rest == run.FAILED_START_SECONDS > monitor.interval
    # Once it can be, it is looked at as often as before.
    monitor._server = EmbeddedPostgres(public_folder, database="one", user="one")
    try:
        assert await monitor.check_once() is False
        assert monitor.rest == 0
    finally:
        monitor._server.stop()
