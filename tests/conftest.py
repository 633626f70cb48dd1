"""A real PostgreSQL for every test that wants one.

Each worker process of pytest runs one server. The role in `Settings` owns its databases and is no
superuser; what it may not do is done as `gateway.standalone.postgres.SUPERUSER`, see `administer`.
TEST_POSTGRES_BIN names another PostgreSQL's ``bin`` folder than the wheel's.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from aiohttp.test_utils import TestClient

from gateway.auth.rate_limits import Limits
from gateway.database import Database
from gateway.settings import Settings
from gateway.settings.sources import CONFIG_FILE_VARIABLE
from gateway.standalone.postgres import EmbeddedPostgres
from support.database import (
    TEMPLATE,
    StartApi,
    administer,
    create_database,
    make_public_folder,
    make_settings,
    make_starter,
    server_of_its_own,
)
from support.embedded_postgres_tools import FAST, Make
from support.reused_databases import ReusedDatabases
from support.strict_skips import pytest_runtest_makereport  # noqa: F401 - a hook

pytest_plugins = (
    "support.reader_kit",
    "support.worker_kit",
    "support.plans_kit",
    "support.described_responses",
    "support.dashboard_kit",
    "support.left_out",
)

# Neither a busy machine fails a test, nor chance; --hypothesis-profile=default draws anew.
hypothesis.settings.register_profile(
    "house",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("house")


@pytest.fixture(autouse=True)
def _no_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*Settings.model_fields, CONFIG_FILE_VARIABLE):
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def postgres_bin() -> Path | None:
    """The PostgreSQL to test with; None for the wheel's."""
    named = os.environ.get("TEST_POSTGRES_BIN")
    return Path(named) if named else None


@pytest.fixture(scope="session")
def postgres_server(postgres_bin: Path | None) -> Iterator[EmbeddedPostgres]:
    with make_public_folder() as folder, server_of_its_own(folder, postgres_bin) as server:
        yield server


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A fresh folder that other accounts may pass through."""
    with make_public_folder() as folder:
        yield folder


@pytest.fixture
def data_dir(public_folder: Path) -> Path:
    return public_folder / "data"


@pytest.fixture(scope="session")
def prepared_cluster(postgres_bin: Path | None) -> Iterator[Path]:
    """A cluster that was made and stopped, to copy: making one takes most of a start's time."""
    with make_public_folder() as folder:
        with EmbeddedPostgres(folder, database="db", user="gw", bin_dir=postgres_bin, options=FAST):
            pass
        yield folder / "postgres"


@pytest.fixture
def make_server(
    data_dir: Path, postgres_bin: Path | None, prepared_cluster: Path
) -> Iterator[Make]:
    """Makes servers, on a cluster that was used before unless ``fresh``; stops them all."""
    made: list[EmbeddedPostgres] = []

    def make(folder: Path = data_dir, fresh: bool = False, **changes: Any) -> EmbeddedPostgres:
        if not (fresh or folder.exists() or folder != data_dir or "bin_dir" in changes):
            folder.mkdir()
            folder.chmod(0o711)
            subprocess.run(["cp", "-a", prepared_cluster, folder], check=True)
        choices = {"database": "db", "user": "gw", "bin_dir": postgres_bin, "options": FAST}
        made.append(EmbeddedPostgres(folder, **(choices | changes)))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="session")
def database_names() -> Iterator[str]:
    return (f"test_{number}" for number in itertools.count(1))


@pytest.fixture
def empty_database(
    postgres_server: EmbeddedPostgres, database_names: Iterator[str]
) -> Iterator[Settings]:
    """Settings that lead to a fresh database without any table."""
    name = next(database_names)
    create_database(postgres_server, name)
    yield make_settings(postgres_server, name)
    administer(postgres_server, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture(scope="session")
def template_database(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database that the migrations were applied to, and nothing else."""
    from gateway.database.migrations import migrate

    create_database(postgres_server, TEMPLATE)
    asyncio.run(migrate(make_settings(postgres_server, TEMPLATE)))
    # A connection that somebody leaves open would keep it from being cloned.
    administer(postgres_server, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", TEMPLATE)
    return TEMPLATE


@pytest.fixture
async def database(empty_database: Settings) -> AsyncIterator[Database]:
    """A pool that leads to an empty database."""
    async with Database(empty_database) as opened:
        yield opened


@pytest.fixture
def own_server(public_folder: Path, postgres_bin: Path | None) -> Iterator[EmbeddedPostgres]:
    """A server that a test may stop and start."""
    with server_of_its_own(public_folder, postgres_bin) as server:
        yield server


@pytest.fixture(scope="session")
def reused_databases(
    postgres_server: EmbeddedPostgres, template_database: str, database_names: Iterator[str]
) -> ReusedDatabases:
    return ReusedDatabases(postgres_server, template_database, database_names)


@pytest.fixture
def database_settings(reused_databases: ReusedDatabases) -> Iterator[Settings]:
    """Settings that lead to a database with all tables, empty."""
    with reused_databases.one() as settings:
        yield settings


@pytest.fixture(scope="module")
def shared_database(reused_databases: ReusedDatabases) -> Iterator[Settings]:
    """The same for a whole module, for tests that leave nothing behind."""
    with reused_databases.one() as settings:
        yield settings


@pytest.fixture
def start_api(database_settings: Settings, aiohttp_client: Any) -> StartApi:
    """Start the API with these settings changed; gives an HTTP client that shows the key.

    Nothing is limited unless the test says so. The API is ready when this returns. It ends before
    its database does: fixtures end in the reverse order of the arguments.
    """
    return make_starter(aiohttp_client, database_settings)


@pytest.fixture
def start_shared_api(shared_database: Settings, aiohttp_client: Any) -> StartApi:
    """The same on the module's database, for tests that leave nothing behind."""
    return make_starter(aiohttp_client, shared_database)


@pytest.fixture
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a test takes, no token flows into a bucket."""
    monkeypatch.setattr("gateway.app.Limits", lambda settings: Limits(settings, lambda: 0.0))


@pytest.fixture
async def api(start_api: StartApi) -> TestClient[Any, Any]:
    """An HTTP client of a ready API on an empty database; the mount cannot be seen."""
    return await start_api()
