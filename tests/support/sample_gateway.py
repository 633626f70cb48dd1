"""A standalone gateway on the sample that the pages speak of, as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.free_ports import free_port
from gateway.cli.sample_media import make_sample_media

START_SECONDS = 60


@dataclass(frozen=True)
class Sample:
    """A standalone gateway on the sample, its first index complete."""

    url: str
    folder: Path
    media: Path
    data: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextmanager
def running_sample(folder: Path) -> Iterator[Sample]:
    """Run one, without limits; its folder for whoever uses it is below ``folder``."""
    media, work = folder / "media", folder / "work"
    make_sample_media(media)
    work.mkdir()
    port = free_port()
    # PostgreSQL's account may not enter pytest's folders, so its data lies beside them.
    data = Path("/var/tmp") / f"teamcache-sample-{os.getpid()}-{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "standalone", "--media", media, "--port", str(port),
         "--data-dir", data, "--rate-limit-per-minute", "0", "--poll-limit-per-minute", "0"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(f"{url}/api/v1/health", process)
        yield Sample(url, work, media, data)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        subprocess.run(["rm", "-rf", data], check=True)


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> Any:
    """The health there, as soon as it is well and an index, if there is one, is complete."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url) as answer:
                health = json.load(answer)
            if health.get("index", {"status": "ready"})["status"] == "ready":
                return health
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("the gateway did not start")
