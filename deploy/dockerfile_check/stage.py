"""Runs the instructions of a Dockerfile's stages in folders that stand for their roots."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dockerfile_check.dockerfile import CheckFailed, Dockerfile, Instruction, StageText, substitute

# What the image has of its own; all other absolute paths are the base image's programs.
OWN_FOLDERS: Final = re.compile(r"(?<![\w./-])/(?:etc|opt|src|var)(?=/|\b)")
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# How this machine reaches its packages is its own business: pip hears of it as it would outside.
PASSED_ON: Final = re.compile(r"PIP_\w+|(?:https?|no)_proxy|SSL_CERT_\w+", re.IGNORECASE)
NEEDS_ROOT: Final = re.compile(r"\b(useradd|groupadd|chown|install -d -o)\b")
ACCOUNT_FILES: Final = ("passwd", "group", "shadow", "gshadow")


@dataclass
class Stage:
    """A stage while it is built: its root, environment, working directory and stages before it."""

    root: Path
    env: dict[str, str]
    finished: Mapping[str, Path]
    workdir: Path
    left_out: list[Instruction] = field(default_factory=list)

    def lead(self, text: str) -> str:
        """Lead the image's absolute paths in ``text`` into our root."""
        return OWN_FOLDERS.sub(lambda match: f"{self.root}{match[0]}", text)

    def do(self, instruction: Instruction, context: Path, arguments: Mapping[str, str]) -> None:
        """Do what one instruction says. Raises `CheckFailed`."""
        match instruction.keyword:
            case "ARG":
                name, _, default = instruction.rest.partition("=")
                self.env[name] = arguments.get(name, default)
            case "ENV":
                for pair in shlex.split(instruction.rest):
                    name, _, value = pair.partition("=")
                    self.env[name] = substitute(self.lead(value), self.env)
            case "WORKDIR":
                self.workdir = Path(self.lead(instruction.rest))
                self.workdir.mkdir(parents=True, exist_ok=True)
            case "COPY":
                self._copy(instruction, context)
            case "RUN":
                self._run(instruction)

    def _run(self, instruction: Instruction) -> None:
        if os.geteuid() != 0 and NEEDS_ROOT.search(instruction.rest):
            self.left_out.append(instruction)
            return
        # The accounts are made in our root's files, not in this machine's.
        own = re.sub(r"\b(useradd|groupadd) ", rf"\1 --prefix {self.root} ", instruction.rest)
        done = subprocess.run(
            ["/bin/sh", "-c", self.lead(own)],
            cwd=self.workdir,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise CheckFailed(f"RUN on line {instruction.line} failed:\n{done.stdout}")

    def _copy(self, instruction: Instruction, context: Path) -> None:
        words = shlex.split(substitute(instruction.rest, self.env))
        origin = context
        if words[0].startswith("--from="):
            origin = self.finished[words.pop(0).removeprefix("--from=")]
        *sources, target = words
        into = self.workdir / self.lead(target)
        for source in sources:
            self._copy_one(instruction, origin / source.lstrip("/"), into, target.endswith("/"))

    def _copy_one(self, instruction: Instruction, source: Path, into: Path, inside: bool) -> None:
        if source.is_dir():
            shutil.copytree(source, into, symlinks=True, dirs_exist_ok=True)
        elif source.is_file():
            place = into / source.name if inside else into
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)
        else:
            raise CheckFailed(f"COPY on line {instruction.line}: there is no {source.name}")


def build(
    dockerfile: Dockerfile,
    context: Path,
    scratch: Path,
    *,
    python: Path,
    arguments: Mapping[str, str],
    say: Callable[[str], None],
) -> Stage:
    """Build all stages below ``scratch``; gives the last. Raises `CheckFailed`.

    Each is built in the same place and then set aside, since an absolute path in one, such as
    a script's first line, must mean the same in the next.
    """
    root, finished = scratch / "root", dict[str, Path]()
    for text in dockerfile.stages:
        stage = _make_stage(root, scratch / "base", python, finished)
        for instruction in text.instructions:
            stage.do(instruction, context, arguments)
        say(f"built {_title(text)}: {len(text.instructions)} instructions")
        if text is not dockerfile.stages[-1]:
            finished[text.name] = root.rename(scratch / f"stage-{text.name}")
    return stage


def _title(text: StageText) -> str:
    return f"stage {text.name}" if text.name else "the last stage"


def _make_stage(root: Path, base: Path, python: Path, finished: Mapping[str, Path]) -> Stage:
    root.mkdir()
    (root / "etc").mkdir()
    for name in ACCOUNT_FILES:
        (root / "etc" / name).touch()
    _make_base(base, python)
    passed_on = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    env = {"PATH": f"{base}:{SYSTEM_PATH}", "LANG": "C.UTF-8", "HOME": str(root)} | passed_on
    return Stage(root, env, finished, root)


def _make_base(base: Path, python: Path) -> None:
    """The programs that the base image brings: python and pip."""
    base.mkdir(exist_ok=True)
    for name, command in {"python": f"{python}", "pip": f"{python} -m pip"}.items():
        (base / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (base / name).chmod(0o755)
