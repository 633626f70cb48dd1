"""Commands as processes of their own, and what became of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import sysconfig
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.settings import Settings
from support import ROOT

PATIENCE = 60.0


def environment(settings: Settings | None = None, **changes: str) -> dict[str, str]:
    """A clean one, which leads to the database of ``settings``."""
    # The packages too: another Python than ours may have to run the command.
    path = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    found = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "HOME": os.environ.get("HOME", "/")}
    if settings is not None:
        found |= {
            "DB_HOST": settings.db_host,
            "DB_PORT": str(settings.db_port),
            "DB_NAME": settings.db_name,
            "DB_USER": settings.db_user,
        }
    return found | changes


class Command:
    """A running ``python -m gateway …``, its standard error read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._publisher = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr
        async for line in self.process.stderr:
            async with self._publisher:
                self.lines.append(line.decode().rstrip("\n"))
                self._publisher.notify_all()
        async with self._publisher:
            self._publisher.notify_all()

    async def says(self, text: str) -> str:
        """Wait for a line of the log with ``text`` in it."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        async with asyncio.timeout(PATIENCE), self._publisher:
            await self._publisher.wait_for(lambda: found() or self._reading.done())
        assert found(), f"{text!r} was not said, but:\n" + "\n".join(self.lines)
        return found()[0]

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    async def end(self, seconds: float = PATIENCE) -> int:
        """Wait for its end; returns the exit code."""
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            await self._reading
        return code

    async def stop(self, seconds: float = PATIENCE) -> int:
        self.send(signal.SIGTERM)
        return await self.end(seconds)

    async def output(self) -> str:
        assert self.process.stdout
        return (await self.process.stdout.read()).decode()


@asynccontextmanager
async def running_command(
    *arguments: str | Path,
    env: Mapping[str, str],
    cwd: Path,
    python: str = sys.executable,
    user: int | None = None,
) -> AsyncIterator[Command]:
    """Start ``python -m gateway`` in a session of its own; kill it if it is still there."""
    process = await asyncio.create_subprocess_exec(
        *(python, "-m", "gateway", *map(str, arguments)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
        cwd=cwd,
        start_new_session=True,
        **({} if user is None else {"user": user, "group": user, "extra_groups": []}),  # type: ignore[arg-type]
    )
    command = Command(process)
    try:
        yield command
    finally:
        if process.returncode is None:
            process.kill()
        await command.end()


async def run_command(
    *arguments: str | Path, env: Mapping[str, str], cwd: Path
) -> tuple[int, str, list[str]]:
    """Run a command to its end: exit code, standard output, lines on standard error."""
    async with running_command(*arguments, env=env, cwd=cwd) as command:
        output = await command.output()
        return await command.end(), output, command.lines
