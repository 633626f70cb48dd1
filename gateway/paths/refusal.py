"""Why a path is refused, as messages: shortened, and escaped so that they cannot forge a log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from unicodedata import normalize

from gateway.errors import InvalidPath, PathNotAllowed
from gateway.formatting import escaped

SHOWN_LENGTH: Final = 120
ECHOED_LENGTH: Final = 4096
LEADS_OUT: Final = "it is a link that leads out of the filespace, or lies behind one"
NOT_ALLOWED: Final = "it is outside the paths that may be cached"


class Refused(Exception):
    """A path cannot be used; ``reason`` is a clause that says why. Never leaves this package."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Problem:
    """One path that cannot be used: ``path`` as given, ``reason`` as a clause.

    ``forbidden``: it is in the filespace, but may not be cached. ``candidates`` are the paths that
    it may mean, as a client can write them.
    """

    path: str
    reason: str
    forbidden: bool = False
    candidates: tuple[str, ...] = ()

    def describe(self) -> dict[str, str | list[str]]:
        """Return the problem for a response, for the caller to match with the submitted list.

        The path is as given, with lone surrogates escaped and cut to the length of a path.
        """
        described: dict[str, str | list[str]] = {"path": echo(self.path), "error": self.reason}
        if self.candidates:
            described["candidates"] = list(self.candidates)
            quoted = tell_apart(self.candidates)
            if quoted != [*map(quote, self.candidates)]:
                described["error"] = f"{self.reason}: {', '.join(quoted)}"
        return described


def echo(path: str) -> str:
    """Return ``path`` as given, with lone surrogates escaped and cut to the length of a path."""
    text = path[:ECHOED_LENGTH] + "…" * (len(path) > ECHOED_LENGTH)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def quote(path: str) -> str:
    """Return ``path`` in quotes, on one line, in at most about 120 characters."""
    text = escaped(_shorten(path))
    mark = '"' if "'" in text else "'"
    return f"{mark}{_shorten(text)}{mark}"


def tell_apart(paths: Sequence[str]) -> list[str]:
    """Return ``paths`` in quotes; those that look the same get their Unicode form added."""
    looks = Counter(normalize("NFC", path) for path in paths)
    return [
        f"{quote(path)} ({_form(path)})" if looks[normalize("NFC", path)] > 1 else quote(path)
        for path in paths
    ]


def to_error(problems: Sequence[Problem]) -> InvalidPath | PathNotAllowed:
    """Return one error for all ``problems`` (at least one), in their order."""
    first, more = problems[0], len(problems) - 1
    tail = f" (and {more} more)" if more else ""
    kind = InvalidPath if any(not problem.forbidden for problem in problems) else PathNotAllowed
    return kind(
        f"Cannot use the path {quote(first.path)}: {first.reason}{tail}",
        [problem.describe() for problem in problems],
    )


def _form(path: str) -> str:
    if path == normalize("NFC", path):
        return "composed"
    return "decomposed" if path == normalize("NFD", path) else "partly decomposed"


def _shorten(text: str) -> str:
    if len(text) <= SHOWN_LENGTH:
        return text
    return text[:80] + "…" + text[81 - SHOWN_LENGTH :]
