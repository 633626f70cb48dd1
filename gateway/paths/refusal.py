"""Why a path is refused, and how that is told: shortened, and with nothing that forges a log."""

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
    """One path that cannot be used: ``path`` as it was given, ``reason`` a clause.

    ``forbidden``: it lies in the filespace, but may not be cached. ``candidates`` are what it may
    have meant, as a client can write them.
    """

    path: str
    reason: str
    forbidden: bool = False
    candidates: tuple[str, ...] = ()

    def describe(self) -> dict[str, str | list[str]]:
        """Return what the caller gets to match it with the list that was sent.

        The path is as given, but for what no JSON can carry (lone surrogates) and for what is
        longer than any path.
        """
        described: dict[str, str | list[str]] = {"path": echo(self.path), "error": self.reason}
        if self.candidates:
            described["candidates"] = list(self.candidates)
            told = tell_apart(self.candidates)
            if told != [*map(quote, self.candidates)]:
                described["error"] = f"{self.reason}: {', '.join(told)}"
        return described


def echo(path: str) -> str:
    """Return ``path`` as it was given, but for lone surrogates and what no path is as long as."""
    shown = path[:ECHOED_LENGTH] + "…" * (len(path) > ECHOED_LENGTH)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")


def quote(path: str) -> str:
    """Return ``path`` in quotes, on one line, in at most about 120 characters."""
    shown = escaped(_shorten(path))
    mark = '"' if "'" in shown else "'"
    return f"{mark}{_shorten(shown)}{mark}"


def tell_apart(paths: Sequence[str]) -> list[str]:
    """Return ``paths`` in quotes; to those that look the same it is added how they differ."""
    looks = Counter(normalize("NFC", path) for path in paths)
    return [
        f"{quote(path)} ({_form(path)})" if looks[normalize("NFC", path)] > 1 else quote(path)
        for path in paths
    ]


def to_error(problems: Sequence[Problem]) -> InvalidPath | PathNotAllowed:
    """Return one error that tells of all ``problems`` (at least one), in their order."""
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
