"""schemathesis reads the description, and finds nothing that the gateway does otherwise.

It tries examples, borders, random requests that are valid or not, and chains of them, on a gateway
that really runs; see schemathesis.toml. What it tries is the same each time.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from aiohttp import ClientSession

from bench.free_ports import free_port
from gateway.app import ROUTES
from gateway.settings import Settings
from support import ROOT
from support.index_rows import add_files
from support.programs import started, variables

CONFIG = ROOT / "tests" / "support" / "schemathesis.toml"
SECONDS = 240
# No setting lifts the limit of wrong keys, and schemathesis shows more than ten a minute.
UNLIMITED = """
import gateway.auth.rate_limits
gateway.auth.rate_limits.BAD_KEYS_PER_MINUTE = 0
from gateway.cli import main
main()
"""


@pytest.mark.timeout(SECONDS + 60)
async def test_the_gateway_does_what_its_description_says(
    database_settings: Settings, tmp_path: Path
) -> None:
    add_files(database_settings, {"00_Media/Farm/ProRes422/Farm00001.mov": 7, "01_VFX/a.exr": 9})
    port = free_port()
    environ = variables(
        database_settings, API_GATEWAY_PORT=str(port), RATE_LIMIT_PER_MINUTE="0",
        POLL_LIMIT_PER_MINUTE="0", CONTAINER_MOUNT_POINT="/media/lucidlink-1",
    )  # fmt: skip
    with started("-c", UNLIMITED, "serve", environ=environ, folder=tmp_path) as gateway:
        gateway.wait_for("ready")
        code, output = await try_everything(f"http://127.0.0.1:{port}", tmp_path)
    assert code == 0, output
    everything = len([route for route in ROUTES if not route.is_page])
    assert f"{everything} selected / {everything} total" in output
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in output.replace("✅  ", "✅ "), output
    assert "Traceback" not in gateway.output


async def try_everything(url: str, folder: Path) -> tuple[int | None, str]:
    # From a file: what it is read from, schemathesis would leave untried.
    document = folder / "openapi.json"
    async with ClientSession() as session, session.get(f"{url}/api/v1/openapi.json") as answer:
        document.write_bytes(await answer.read())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG),
        "run", document, "--url", url, "--no-color",
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode, output.decode()
