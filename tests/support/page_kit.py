"""Pages of Markdown as a reader uses them: their blocks, and a shell that runs what they say.

A page speaks of a gateway at ``localhost:8095`` and of other ports; a run has its own. Comments in
front of a block say what it is, beside its language:

- ``<!-- as: NAME -->``: a file that the commands below speak of;
- ``<!-- names only -->``: commands that this machine cannot run as they stand. What they name has
  to exist;
- ``<!-- generated: file PATH -->``: a file of this project, which the commands may use.

A block ``text`` right below commands is what they say, where ``…`` is anything.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from bench.free_ports import free_port
from docs.generate import DOCS
from support import ROOT
from support.optional_programs import require_program

FENCED = re.compile(r"(?:<!-- ([^\n]*) -->\n\n?)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = re.compile(r"(localhost|127\.0\.0\.1):(\d{4})\b|\bPORT=(\d{4})\b")
NAMES_ONLY = "names only"
GATEWAY_PORT = "8095"
RUN_SECONDS = 240


@dataclass(frozen=True)
class Block:
    """A fenced block; ``mark`` is the comment in front of it, ``after`` where it ends."""

    mark: str
    language: str
    text: str
    start: int
    end: int

    @property
    def file_name(self) -> str | None:
        """The name of the file that it is."""
        kind, _, name = self.mark.partition(": ")
        return Path(name.removeprefix("file ")).name if kind in ("as", "generated") else None


@dataclass(frozen=True)
class Step:
    """Commands that are run, and what the page says that they say, if it does."""

    commands: str
    expected: str | None


def blocks_of(text: str) -> Sequence[Block]:
    return [
        Block(found[1] or "", found[2], found[3], found.start(), found.end())
        for found in FENCED.finditer(text)
    ]


def steps_of(text: str) -> Sequence[Step]:
    """What a reader of the page runs, in order."""
    return [
        Step(block.text, _said_below(block, after, text))
        for block, after in zip_longest(blocks_of(text), blocks_of(text)[1:])
        if block.language == "bash" and block.mark != NAMES_ONLY and not block.file_name
    ]


def _said_below(block: Block, after: Block | None, text: str) -> str | None:
    is_output = after and after.language == "text" and not text[block.end : after.start].strip()
    return after.text if after and is_output else None


def names_of(text: str) -> Sequence[str]:
    """The command lines of which only the names are checked."""
    return [
        line
        for block in blocks_of(text)
        if block.mark == NAMES_ONLY
        for line in lines_of(block.text)
    ]


def lines_of(commands: str) -> Sequence[str]:
    return commands.replace("\\\n", " ").splitlines()


class Reader:
    """Somebody in front of a page, in a folder of his own, with the package installed.

    ``changes`` are what is different on his machine: texts of the page, and what they are here.
    """

    def __init__(
        self, folder: Path, gateway_port: int, changes: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._ports = {GATEWAY_PORT: str(gateway_port)}
        self._changes = changes or {}

    def follow(self, text: str, environ: Mapping[str, str]) -> None:
        """Do what the page says, in one shell; what differs from what it promises fails."""
        self._write_files(blocks_of(text))
        steps = steps_of(text)
        lines = [f"{{ {self.here(it.commands)}\n}} > {n}.out 2>&1" for n, it in enumerate(steps)]
        returncode = self._run("\n".join(lines), environ)
        outputs = [self._output(number) for number in range(len(steps))]
        assert returncode == 0, "\n".join(outputs)
        for step, output in zip(steps, outputs, strict=True):
            if step.expected is not None:
                assert fits(self.here(step.expected), output), f"{step.commands}\n{output}"

    def _run(self, script: str, environ: Mapping[str, str]) -> int:
        """Run it to its end; what it left in the background ends too. Gives its exit code."""
        process = subprocess.Popen(
            [require_program("bash"), "-euo", "pipefail", "-c", script],
            cwd=self._folder, env=self.environment() | environ,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(RUN_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(RUN_SECONDS)

    def here(self, text: str) -> str:
        """The page's words as they are on this machine."""
        for theirs, ours in self._changes.items():
            text = text.replace(theirs, ours)
        return ADDRESS.sub(self._with_our_port, text)

    def _with_our_port(self, found: re.Match[str]) -> str:
        port = found[2] or found[3]
        ours = self._ports.setdefault(port, str(free_port()))
        # The name may lead to ::1 first, where another program may listen.
        return f"PORT={ours}" if found[3] else f"127.0.0.1:{ours}"

    def _write_files(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            if block.file_name:
                path = self._folder / block.file_name
                path.write_text(self.here(block.text), encoding="utf-8")
                path.chmod(0o755)

    def _output(self, number: int) -> str:
        path = self._folder / f"{number}.out"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def environment(self) -> dict[str, str]:
        """What commands in the folder run with: they find our programs, and the gateway."""
        programs = self._folder / "bin"
        programs.mkdir(exist_ok=True)
        _write_program(programs / "python", sys.executable)
        _write_program(programs / "teamcache-gateway", sys.executable, "-m", "gateway")
        return outside() | {
            "HOME": str(self._folder),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "TEAMCACHE_URL": f"http://127.0.0.1:{self._ports[GATEWAY_PORT]}",
        }


def _write_program(path: Path, *command: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o755)


def fits(expected: str, output: str) -> bool:
    """Whether commands said what a page says, which leaves out what differs each time: ``…``."""
    lines = expected.strip().split("\n")
    # On a line of its own it stands for any number of lines.
    patterns = [
        r"(?:.*\n)*" if it == "…" else re.escape(it).replace("…", ".*") + r"\n" for it in lines
    ]
    return re.fullmatch("".join(patterns), f"{output.strip()}\n") is not None


def outside() -> dict[str, str]:
    """The environment of somebody who works elsewhere, with the package installed."""
    proxied = {name for name in os.environ if name.lower().endswith("_proxy")}
    clean = {name: value for name, value in os.environ.items() if name not in proxied}
    return clean | {"PYTHONPATH": str(ROOT)}


def assert_command_exists(line: str) -> None:
    """What a command names is there: its target, its options, its files."""
    words = [word for word in shlex.split(line) if "=" not in word or word.startswith("-")]
    program, *arguments = words
    known = CHECKS.get(program.removeprefix(".venv/bin/"))
    assert known is not None, f"nobody knows whether this works: {line}"
    known(arguments)


def _check_make(arguments: Sequence[str]) -> None:
    assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def _check_pip(arguments: Sequence[str]) -> None:
    assert arguments[0] == "install"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for wanted in arguments[1:]:
        extra = re.fullmatch(r"\.(?:\[(\w+)\])?", wanted)
        assert extra, wanted
        assert extra[1] is None or extra[1] in project["optional-dependencies"]


def _check_python(arguments: Sequence[str]) -> None:
    assert arguments == ["-m", "venv", ".venv"]


def _check_gateway(arguments: Sequence[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", arguments[0], "--help"],
        capture_output=True, text=True, check=True, env=outside(),
    )  # fmt: skip
    for option in (word for word in arguments if word.startswith("--")):
        assert option in done.stdout


def _check_docker(arguments: Sequence[str]) -> None:
    """There may be no engine to run it."""
    for word in arguments:
        if word.startswith("api-gateway/"):
            assert (ROOT / word.removeprefix("api-gateway/")).is_file()
    if "EXTRAS" in " ".join(arguments):
        assert "ARG EXTRAS" in (ROOT / "Dockerfile").read_text()


CHECKS: Mapping[str, Callable[[Sequence[str]], None]] = {
    "make": _check_make,
    "pip": _check_pip,
    "python3": _check_python,
    "teamcache-gateway": _check_gateway,
    "docker": _check_docker,
}


def links_of(text: str) -> Iterator[tuple[str, str]]:
    """The relative links of a page: file and anchor, either of them may be empty."""
    prose = FENCED.sub("", text)
    prose = re.sub(r"`[^`\n]*`", "", prose)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            yield file, anchor


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    made: list[str] = []
    for heading in headings:
        words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip()
        anchor = words.replace(" ", "-")
        repeated = made.count(anchor)
        made.append(anchor)
        if repeated:
            made.append(f"{anchor}-{repeated}")
    return set(made)


PAGES = sorted(DOCS.rglob("*.md"))


def relative_name(page: Path) -> str:
    return page.relative_to(DOCS.parent).as_posix()
