"""The client that the document shows, against a gateway and a worker as they are really run."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.settings import Settings
from support import ROOT
from support.index_rows import run
from support.programs import PATIENCE, started, variables

EXAMPLE = ROOT / "examples" / "python" / "poll_job.py"
KEY = "a-key-of-our-own"
FILES = {f"00_Media/Farm/Farm{number:05}.mov": 100_000 + number for number in range(20)}


def make_media(root: Path) -> None:
    for name, size in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)


def test_the_documents_client_sees_its_job_complete(
    database_settings: Settings, tmp_path: Path
) -> None:
    media = tmp_path / "media"
    make_media(media)
    environ = variables(
        database_settings,
        API_GATEWAY_KEY=KEY,
        API_GATEWAY_HOST="127.0.0.1",
        API_GATEWAY_PORT="0",
        CONTAINER_MOUNT_POINT=str(media),
        CACHE_PROGRESS_TIME_THRESHOLD="100",
    )
    gateway = ("-m", "gateway")
    with started(*gateway, "index", media, environ=environ, folder=tmp_path) as index:
        assert index.process.wait(PATIENCE) == 0, index.output
        index.wait_for("20 files in 3 directories: 23 added")
    with (
        started(*gateway, "serve", environ=environ, folder=tmp_path) as server,
        started(*gateway, "worker", environ=environ, folder=tmp_path),
    ):
        url = server.wait_for(r"listening on (http://127.0.0.1:\d+)")[1]
        server.wait_for("the schema is up to date")
        told = {"GATEWAY_URL": url, "GATEWAY_KEY": KEY, "GATEWAY_POLL_SECONDS": "0.6"}
        with started(EXAMPLE, "00_Media/Farm", environ=told, folder=tmp_path) as client:
            code = client.process.wait(PATIENCE)
            client.wait_for("The job is")
    assert code == 0, client.output
    job_id = re.search(r"Job ([0-9a-f-]{36}): 20 files", client.output)
    assert job_id
    assert "To be read: 1.91 MB\n" in client.output
    assert client.output.endswith("Read: 1.91 MB of 1.91 MB\nThe job is completed\n")
    (job,) = run(database_settings, "SELECT id::text AS id, completed_files FROM cache_jobs")
    assert (job.id, job.completed_files) == (job_id[1], 20)


def test_the_client_says_why_it_was_refused(database_settings: Settings, tmp_path: Path) -> None:
    environ = variables(database_settings, API_GATEWAY_KEY=KEY, API_GATEWAY_PORT="0")
    with started("-m", "gateway", "serve", environ=environ, folder=tmp_path) as server:
        url = server.wait_for(r"listening on (http://127.0.0.1:\d+)")[1]
        told = {"GATEWAY_URL": url, "GATEWAY_KEY": "wrong"}
        with started(EXAMPLE, "00_Media", environ=told, folder=tmp_path) as client:
            assert client.process.wait(PATIENCE) == 1
            client.wait_for("401: Invalid or missing API key")
