"""PostgreSQL that ends by itself is started again soon; one that cannot be started, not so often."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import standalone
from gateway.embedded_postgres import EmbeddedPostgres
from gateway.errors import EmbeddedPostgresError


async def test_one_that_cannot_be_started_is_tried_less_often(tmp_path: Path) -> None:
    binaries = tmp_path / "nothing"
    server = EmbeddedPostgres(tmp_path, database="one", user="one", bin_dir=binaries)
    monitor = standalone._PostgresMonitor(server)
    with pytest.raises(EmbeddedPostgresError):
        await monitor.check_once()
    assert monitor.rest == standalone.FAILED_START_SECONDS > monitor.interval
    # Once it can be, it is looked at as often as before.
    monitor._server = EmbeddedPostgres(tmp_path, database="one", user="one")
    try:
        assert await monitor.check_once() is False
        assert monitor.rest == 0
    finally:
        monitor._server.stop()
