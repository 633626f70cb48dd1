"""Commands on a terminal of their own, and what they show there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from support.processes import environment


class Terminal:
    """A command on a terminal, and what it has shown there."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self.process = process
        self.text = ""
        self._descriptor = descriptor

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(60):
            while text not in self.text:
                found = await asyncio.to_thread(self._read)
                assert found, self.text
                self.text += found

    async def end(self) -> int:
        """Read to the end; the exit code."""
        async with asyncio.timeout(60):
            while found := await asyncio.to_thread(self._read):
                self.text += found
            return await self.process.wait()

    def _read(self) -> str:
        try:
            return os.read(self._descriptor, 65536).decode(errors="replace")
        except OSError:  # the other end is closed
            return ""


@contextlib.asynccontextmanager
async def on_terminal(
    *arguments: object, cwd: Path, env: Mapping[str, str] | None = None
) -> AsyncIterator[Terminal]:
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *map(str, arguments)),
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**environment(TERM="xterm", COLUMNS="120"), **(env or {})},
        cwd=cwd,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.returncode is None:
            process.terminate()
        # Nobody reads any more: the terminal must not hold it up.
        os.close(ours)
        await process.wait()
