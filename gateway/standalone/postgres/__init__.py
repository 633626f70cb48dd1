"""A real PostgreSQL of our own: made on first use, started, stopped, kept between runs.

::

    <data_dir>/
    ├── postgres/           the cluster (PGDATA)
    ├── postgres.log        what the server says, and postgres.log.1 before it
    ├── lock                held by the one process that runs this server; its pid
    ├── socket/             the server's socket, where the path is short enough …
    ├── socket.path         … else this names the private folder that holds it
    └── pgsql-<version>/    a copy of the binaries, where the server's account cannot reach them
"""

from gateway.standalone.postgres.provision import SUPERUSER
from gateway.standalone.postgres.server import EmbeddedPostgres
from gateway.standalone.postgres.shutdown import Patience

__all__ = ["SUPERUSER", "EmbeddedPostgres", "Patience"]
