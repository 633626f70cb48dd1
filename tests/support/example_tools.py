"""The examples as their README tells to run them, and what they print."""

from __future__ import annotations

import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support import ROOT
from support.live_gateway import LiveGateway
from support.optional_programs import leave_out, require_program

EXAMPLES = ROOT / "examples"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| \[(\S+)\]\(\1\) \| .* \| `([^`]+)` \| `([^`]+)` \|$", re.MULTILINE)
LINE_SECONDS = 30


class Example(NamedTuple):
    """A row of the README's table: its file, what to do once, the command to run."""

    path: str
    once: str
    command: str

    @property
    def folder(self) -> str:
        return self.path.partition("/")[0]


def listed_examples() -> dict[str, Example]:
    return {row[0]: Example(*row) for row in ROW.findall(README)}


def copy_with_packages(folder: str, into: Path) -> Path:
    """A copy of a folder of examples, with the npm packages that its lock file names."""
    require_program("node")
    npm = require_program("npm")
    copy = into / folder
    shutil.copytree(EXAMPLES / folder, copy, ignore=shutil.ignore_patterns("node_modules"))
    (once,) = {example.once for example in listed_examples().values() if example.folder == folder}
    done = subprocess.run(
        [npm, *shlex.split(once)[1:], "--ignore-scripts"],
        cwd=copy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        leave_out(f"needs npm's packages, but `{once}` said {done.stderr.strip()[-500:]}")
    return copy


class Output:
    """The lines that a running example prints, as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.seen: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(
        self, pattern: str, accept: Callable[[re.Match[str]], bool] = bool
    ) -> re.Match[str]:
        """The next line that matches in full and is accepted."""
        deadline = time.monotonic() + LINE_SECONDS
        while (line := self._next(deadline)) is not None:
            self.seen.append(line)
            if (match := re.fullmatch(pattern, line)) and accept(match):
                return match
        raise AssertionError(f"no line like {pattern!r} in {self.seen[-20:]}")

    def end(self) -> int:
        """The code with which it ends by itself; all that it has printed is in ``seen`` then."""
        code = self.process.wait(60)
        self._reader.join(10)
        while not self._lines.empty():
            if (line := self._lines.get()) is not None:
                self.seen.append(line)
        return code

    def drop_backlog(self) -> None:
        """Forget what was printed until now: what is waited for next is newer."""
        while not self._lines.empty():
            self.seen.append(self._lines.get() or "")

    def _next(self, deadline: float) -> str | None:
        try:
            return self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


@contextmanager
def running_example(
    path: str, gateway: LiveGateway, folder: Path, replace: tuple[str, str] = ("", ""),
    **settings: str,
) -> Iterator[Output]:  # fmt: skip
    """Run the README's command for the example at ``path`` in ``folder``, against ``gateway``."""
    command = listed_examples()[path].command
    words = [word.replace(*replace) if word == replace[0] else word for word in command.split()]
    program = sys.executable if words[0] == "python" else require_program(words[0])
    environment = {"GATEWAY_URL": gateway.url, "GATEWAY_POLL_SECONDS": "0.2", **settings}
    process = subprocess.Popen(
        [program, *words[1:]], cwd=folder, env=_without_proxies(os.environ) | environment,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    output = Output(process)
    try:
        yield output
    finally:
        process.terminate()
        process.wait(10)
        output.end()
        assert process.stdout is not None
        process.stdout.close()


def _without_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """A proxy of this machine would be asked for the gateway on localhost."""
    return {k: v for k, v in environment.items() if not k.lower().endswith("_proxy")}
