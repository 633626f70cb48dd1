"""Finding the server of a gateway that runs already."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.errors import EmbeddedPostgresError
from gateway.standalone.postgres.shutdown import PROC, find_servers, read_pid_file


def find_running(data_dir: Path) -> tuple[str, int]:
    """Where the server in ``data_dir`` listens, as DB_HOST and DB_PORT.

    Raises `EmbeddedPostgresError` if none runs there, or if we may not look.
    """
    data_dir = data_dir.expanduser().resolve()
    cluster = data_dir / "postgres"
    if cluster.is_dir() and not os.access(cluster, os.R_OK | os.X_OK):
        raise EmbeddedPostgresError(
            f"{cluster} may not be read: run this as the user who runs the gateway"
        )
    known = read_pid_file(cluster)
    if known is None or not known.is_ready or _is_stale(known.pid, cluster):
        raise EmbeddedPostgresError(
            f"No gateway runs with the data folder {data_dir}: start it with standalone first"
        )
    return known.socket_folder, known.port


def _is_stale(pid: int, cluster: Path) -> bool:
    return PROC.is_dir() and pid not in find_servers(cluster)
