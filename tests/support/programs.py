"""Processes that tests start: they are waited for by what they say, and end with the test."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aiohttp import ClientSession

from gateway.settings import Settings
from support import ROOT

PATIENCE = 60


class Running:
    """A process whose output is read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._has_ended = False
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the process has said something; fails if it ends before."""
        with self._changed:
            self._changed.wait_for(
                lambda: re.search(pattern, self.output) or self._has_ended, PATIENCE
            )
        found = re.search(pattern, self.output)
        assert found, f"never said {pattern!r}:\n{self.output}"
        return found

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()


@contextmanager
def started(*arguments: str | Path, environ: Mapping[str, str], folder: Path) -> Iterator[Running]:
    """Run ``python <arguments>`` in a folder; it is told to end, in order, at the end."""
    process = subprocess.Popen(
        [sys.executable, "-u", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Running(process)
    try:
        yield running
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()


def variables(settings: Settings, **more: str) -> dict[str, str]:
    """The environment that leads a process to a test's database."""
    return {
        "DB_HOST": settings.db_host,
        "DB_PORT": str(settings.db_port),
        "DB_NAME": settings.db_name,
        "DB_USER": settings.db_user,
    } | more


async def until_healthy(url: str) -> None:
    async with asyncio.timeout(60), ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/api/v1/health") as health:
                    if health.status == 200:
                        return
            except OSError:
                await asyncio.sleep(0.05)
