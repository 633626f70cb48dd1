"""The examples of the how-tos as processes, in the folder of somebody who has copied them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import ROOT
from support.page_kit import Reader
from support.sample_gateway import Sample, running_sample

HOW_TO = ROOT / "examples" / "how-to"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    with running_sample(tmp_path_factory.mktemp("sample")) as running:
        yield running


class Example:
    """A copy of a file of the how-tos, and how to run it against the sample."""

    def __init__(self, name: str, folder: Path, sample: Sample) -> None:
        self.folder = folder
        self.path = Path(shutil.copy(HOW_TO / name, folder))
        self.environment = Reader(folder, sample.port).environment()

    def run(self, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._program, *map(str, arguments)],
            env=self.environment | environ, cwd=self.folder, timeout=100,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    @contextmanager
    def running(self, **environ: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            self._program, env=self.environment | environ, cwd=self.folder, text=True
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    @property
    def _program(self) -> list[str]:
        return [sys.executable, str(self.path)] if self.path.suffix == ".py" else [str(self.path)]


def ask(
    sample: Sample, method: str, path: str, body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the gateway answers; raises for an error."""
    request = urllib.request.Request(
        f"{sample.url}/api/v1{path}",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"X-API-Key": "demo-api-key-2024", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def submitted_jobs(sample: Sample) -> list[str]:
    """The ids of all jobs, newest first."""
    return [job["id"] for job in ask(sample, "GET", "/cache/jobs?limit=100")["jobs"]]
