"""A gateway that really runs, on a sample, with a backend and an S3 server that really answer."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from bench.free_ports import free_port
from gateway.cli.sample_media import make_sample_media
from support.optional_programs import require_program

BUCKET = "media-cache"
S3_KEYS = {"AWS_ACCESS_KEY_ID": "examples", "AWS_SECRET_ACCESS_KEY": "only-for-tests"}
TICK_SECONDS = 0.2
START_SECONDS = 60


class LiveBackend:
    """A backend's WebSocket on a thread of its own. What it sends is as one sets it."""

    def __init__(self) -> None:
        self.mibps = 25.6
        self.bytes_used = 5_000_000
        self.port = 0
        self._stop = asyncio.Event()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[LiveBackend]:
        loop, started = asyncio.new_event_loop(), threading.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(self._serve(started),))
        thread.start()
        assert started.wait(10)
        yield self
        loop.call_soon_threadsafe(self._stop.set)
        thread.join(10)
        loop.close()

    async def _serve(self, started: threading.Event) -> None:
        app = web.Application()
        app.router.add_get("/", self._send)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _send(self, request: web.Request) -> web.WebSocketResponse:
        stream = web.WebSocketResponse()
        await stream.prepare(request)
        with suppress(ConnectionError):
            while not stream.closed and not self._stop.is_set():
                for message in self._messages():
                    await stream.send_json(message)
                await asyncio.sleep(TICK_SECONDS)
        return stream

    def _messages(self) -> Iterator[dict[str, Any]]:
        now = round(time.time() * 1000)
        yield {"type": "lucidlink-stats", "getMibps": self.mibps, "getTimeMs": 4, "timestamp": now}
        yield {
            "type": "varnish-stats",
            "bytesUsed": self.bytes_used,
            "totalSpace": 10_000_000,
            "usagePercentage": self.bytes_used / 100_000,
            "lastUpdated": now,
        }


class LiveS3:
    """An S3 server with one bucket, which checks signatures; it can be stopped and come back."""

    def __init__(self, folder: Path) -> None:
        self.url = ""
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator[LiveS3]:
        (self._folder / BUCKET).mkdir(parents=True)
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def start(self) -> None:
        self.url = f"http://127.0.0.1:{self._port}"
        self._process = subprocess.Popen(
            [require_program("rclone"), "serve", "s3", self._folder, "--config", os.devnull,
             "--addr", f"127.0.0.1:{self._port}", "--auth-key", ",".join(S3_KEYS.values())],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections are taken, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


class LiveGateway:
    """``standalone`` as a process of its own, with the limits that it has by default."""

    def __init__(
        self, folder: Path, backend: LiveBackend, s3: LiveS3, changes: Mapping[str, str]
    ) -> None:
        self.backend = backend
        self.s3 = s3
        self.port = free_port()
        self.media = folder / "media"
        self._changes = changes
        # PostgreSQL's account may not enter pytest's folders, so its data lies beside them.
        self._data = Path("/var/tmp") / f"teamcache-examples-{os.getpid()}-{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        # The name, as people write it: a client may look for it on ::1 first.
        return f"http://localhost:{self.port}"

    @contextmanager
    def running(self) -> Iterator[LiveGateway]:
        make_sample_media(self.media)
        try:
            self.start()
            yield self
        finally:
            self.stop()
            shutil.rmtree(self._data, ignore_errors=True)

    def start(self) -> None:
        # Small reads, one at a time: the sample's clips take long enough to be looked at.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "standalone", "--media", self.media,
             "--port", str(self.port), "--data-dir", self._data, "--log-level", "warning",
             "--worker-concurrency", "1", "--worker-chunk-size", "16384",
             "--cache-progress-time-threshold", "100",
             "--backend-ws-url", self.backend.url, "--s3-endpoint", self.s3.url,
             "--s3-health-bucket", BUCKET, "--s3-check-interval", "200"],
            env=os.environ | S3_KEYS | self._changes,
        )  # fmt: skip
        self._wait_until_indexed()

    def stop(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1{path}") as answer:
            return json.load(answer)

    def _wait_until_indexed(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError):
                if self.get("/health")["index"]["status"] == "ready":
                    return
            time.sleep(0.05)
        raise AssertionError("the gateway did not start")


@contextmanager
def running_gateway(folder: Path, **changes: str) -> Iterator[LiveGateway]:
    """A gateway with all that it looks at. ``changes``: environment variables."""
    with ExitStack() as stack:
        s3 = stack.enter_context(LiveS3(folder / "s3").running())
        backend = stack.enter_context(LiveBackend().running())
        yield stack.enter_context(LiveGateway(folder, backend, s3, changes).running())
