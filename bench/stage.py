"""Where it is measured: a PostgreSQL of its own, durable, and the gateway as its own process."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from gateway.client import GatewayClient, GatewayClientError
from gateway.database.migrations import migrate
from gateway.settings import Settings
from gateway.standalone.postgres import EmbeddedPostgres

KEY = "bench-key"
START_SECONDS = 30
MEMORY = Path("/dev/shm")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account may pass through, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="teamcache-bench-")).resolve()
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def memory_folder() -> Iterator[Path | None]:
    """A folder whose files never leave memory; None where there is none."""
    if not MEMORY.is_dir():
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="teamcache-bench-", dir=MEMORY))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def stage(folder: Path, media: Path) -> AsyncIterator[Settings]:
    """Settings that lead to a fresh database with all tables."""
    server = EmbeddedPostgres(folder / "data", database="teamcache_db", user="teamcache_user")
    await asyncio.to_thread(server.start)
    try:
        settings = Settings(
            db_host=server.host,
            db_port=server.port,
            container_mount_point=str(media),
            cache_progress_time_threshold=1000,
        )
        await migrate(settings)
        yield settings
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def gateway(
    settings: Settings, port: int, environ: Mapping[str, str] | None = None
) -> AsyncIterator[GatewayClient]:
    """A client of the gateway, which runs as a process of its own without rate limits."""
    async with gateway_process(settings, port, environ) as (client, _pid):
        yield client


@asynccontextmanager
async def gateway_process(
    settings: Settings, port: int, environ: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[GatewayClient, int]]:
    """The same, with the number of the process. ``environ`` has more settings."""
    process = await start_gateway(settings, port, environ)
    try:
        async with GatewayClient(f"http://127.0.0.1:{port}", KEY, timeout=600) as client:
            await _wait_until_healthy(client)
            yield client, process.pid
    finally:
        await end(process)


async def start_gateway(
    settings: Settings, port: int, environ: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start it as it is shipped: with its access log, which goes to where nobody reads it."""
    ours = {
        "API_GATEWAY_KEY": KEY,
        "API_GATEWAY_HOST": "127.0.0.1",
        "API_GATEWAY_PORT": str(port),
        "DB_HOST": settings.db_host,
        "CONTAINER_MOUNT_POINT": settings.container_mount_point,
        "RATE_LIMIT_PER_MINUTE": "0",
        "POLL_LIMIT_PER_MINUTE": "0",
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve"),
        env={**os.environ, **ours, **(environ or {})},
        stderr=asyncio.subprocess.DEVNULL,
    )


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process of ours in order, and wait for that."""
    process.send_signal(signal.SIGTERM)
    await process.wait()


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, for itself and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _wait_until_healthy(client: GatewayClient) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                await client.health()
            except GatewayClientError:
                await asyncio.sleep(0.05)
            else:
                return
