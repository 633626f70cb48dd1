"""What a Dockerfile and a .dockerignore say, as far as ours goes. Reads; runs nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


class CheckFailed(Exception):
    """The Dockerfile, or what it makes, is not as it should be. The message says how."""


@dataclass(frozen=True)
class Instruction:
    """One instruction: its keyword in capitals, the rest as it stands, and its line."""

    keyword: str
    rest: str
    line: int

    def read_exec_form(self) -> list[str]:
        """The command as a list. Raises `CheckFailed` for a shell's: it would swallow signals."""
        text = self.rest.partition("CMD")[2] if self.keyword == "HEALTHCHECK" else self.rest
        try:
            command = json.loads(text)
        except json.JSONDecodeError:
            raise CheckFailed(f"{self.keyword} on line {self.line} is not in exec form") from None
        return [str(part) for part in command]


@dataclass(frozen=True)
class StageText:
    """One stage: its name (empty for the last), its base image and its instructions."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class Dockerfile:
    """The stages in order, and what the last one says about running it."""

    stages: tuple[StageText, ...]

    @property
    def entrypoint(self) -> list[str]:
        """The program that runs."""
        return self._last("ENTRYPOINT").read_exec_form()

    @property
    def command(self) -> list[str]:
        """Its arguments, unless others are given."""
        return self._last("CMD").read_exec_form()

    @property
    def healthcheck(self) -> list[str]:
        """The command that says whether it lives."""
        return self._last("HEALTHCHECK").read_exec_form()

    @property
    def stop_signal(self) -> str:
        """The name of the signal that ends it."""
        return self._last("STOPSIGNAL").rest

    @property
    def final_user(self) -> int:
        """The user's number. Raises `CheckFailed` for root and for a name."""
        user = self._last("USER")
        if not re.fullmatch(r"[1-9]\d*(:\d+)?", user.rest):
            raise CheckFailed(f"USER on line {user.line} is not the number of a user beyond root")
        return int(user.rest.partition(":")[0])

    def _last(self, keyword: str) -> Instruction:
        found = [each for each in self.stages[-1].instructions if each.keyword == keyword]
        if not found:
            raise CheckFailed(f"The last stage has no {keyword}")
        return found[-1]


def read_dockerfile(path: Path) -> Dockerfile:
    """Read all stages of a Dockerfile; build arguments before FROM have their defaults."""
    stages: list[StageText] = []
    arguments: dict[str, str] = {}
    for instruction in _read_instructions(path.read_text(encoding="utf-8")):
        if instruction.keyword == "FROM":
            base, _, name = substitute(instruction.rest, arguments).partition(" AS ")
            stages.append(StageText(name.strip(), base.strip(), ()))
        elif stages:
            last = stages.pop()
            stages.append(StageText(last.name, last.base, (*last.instructions, instruction)))
        elif instruction.keyword == "ARG":
            name, _, default = instruction.rest.partition("=")
            arguments[name] = default
    if not stages:
        raise CheckFailed(f"{path.name} has no FROM")
    return Dockerfile(tuple(stages))


def _read_instructions(text: str) -> list[Instruction]:
    found: list[Instruction] = []
    pending, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        first = first if pending else number
        pending += line.strip().removesuffix("\\")
        if not line.endswith("\\"):
            keyword, _, rest = pending.partition(" ")
            found.append(Instruction(keyword.upper(), rest.strip(), first))
            pending = ""
    if pending:
        raise CheckFailed(f"The instruction on line {first} has no end")
    return found


def substitute(text: str, variables: dict[str, str]) -> str:
    """Put variables in as Docker does: ``$NAME`` and ``${NAME}``, unknown ones are empty."""
    return re.sub(
        r"\$(?:(\w+)|\{(\w+)\})", lambda match: variables.get(match[1] or match[2], ""), text
    )


@dataclass(frozen=True)
class Ignored:
    """The rules of a .dockerignore, in order: whether each ignores, and what."""

    rules: tuple[tuple[bool, re.Pattern[str]], ...]

    def covers(self, path: str) -> bool:
        """Whether ``path``, relative to the context, stays out. The last rule that fits decides."""
        chain = [path, *map(str, PurePosixPath(path).parents)][:-1]
        verdict = False
        for ignores, pattern in self.rules:
            if any(pattern.fullmatch(part) for part in chain):
                verdict = ignores
        return verdict

    def copy_context(self, source: Path, target: Path) -> int:
        """Copy what is not ignored, with its modes; gives the number of files."""
        count = 0
        for folder, folders, files in os.walk(source):
            folders[:] = [name for name in folders if name not in (".git", ".venv")]
            for file in (Path(folder) / name for name in files):
                relative = file.relative_to(source)
                if not self.covers(relative.as_posix()):
                    (target / relative).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(file, target / relative)
                    count += 1
        return count


def read_ignored(path: Path) -> Ignored:
    """Read a .dockerignore."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return Ignored(
        tuple(
            (not line.startswith("!"), _compile(line.removeprefix("!").strip("/")))
            for line in lines
            if line and not line.startswith("#")
        )
    )


def _compile(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])", pattern)
    meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(
            meanings.get(part, part if part.startswith("[") else re.escape(part)) for part in parts
        )
    )
