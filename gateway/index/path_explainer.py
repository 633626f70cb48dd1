"""What becomes of a path that a client typed: where it leads, by which rule, and what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.index.path_lookup import Entry, Findings, PathLookup, problem_of
from gateway.mount.mount import Mount
from gateway.mount.path_status import Kind, Seen
from gateway.paths import Filespaces, Place, Problem, Rule, explain_all
from gateway.paths.refusal import echo, tell_apart
from gateway.runtime.offload import compute

NOTHING: Final = Seen(Kind.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Explained:
    """One path: as it was typed, and what it means.

    ``resolved`` is relative to ``filespace``, as the index spells it; empty for all of it, None if
    the path is refused, for the reason ``error``. ``sendable`` asks for the same when it is sent:
    of several filespaces it begins with the name. ``kind`` is `Kind.FILE` or `Kind.DIRECTORY`, else
    nothing is known of it. ``size`` is a file's, in bytes.
    """

    typed: str
    resolved: str | None = None
    sendable: str | None = None
    filespace: str | None = None
    rule: Rule | None = None
    is_indexed: bool = False
    kind: Kind = Kind.UNKNOWN
    size: int | None = None
    error: str | None = None


class PathExplainer:
    """Explains paths from the index, and from the mount what that does not know."""

    def __init__(self, lookup: PathLookup, mount: Mount, filespaces: Filespaces) -> None:
        self._lookup = lookup
        self._mount = mount
        self._filespaces = filespaces

    async def explain(
        self, typed: Sequence[str], own_prefixes: tuple[str, ...] = ()
    ) -> Sequence[Explained]:
        """What each path means, in the order given. Nothing is created.

        ``own_prefixes`` are those of the caller, see `Filespaces.narrowed`. Raises `Unavailable`
        if too many ask, `DatabaseUnavailable`.
        """
        filespaces = self._filespaces.narrowed(own_prefixes)
        places = await compute(len(typed), explain_all, typed, filespaces)
        named = dict.fromkeys(place.path for place in places if isinstance(place, Place))
        async with self._lookup.turn():
            found = await self._lookup.find(named, own_prefixes)
        unknown = [it for it in named if it not in found.entries and it not in found.problems]
        seen = dict(zip(unknown, await self._mount.look_at(unknown, own_prefixes), strict=True))
        return await compute(len(typed), _explain_all, typed, places, found, seen, filespaces)


def _explain_all(
    typed: Sequence[str],
    places: Sequence[Place | Problem],
    found: Findings,
    seen: Mapping[str, Seen],
    filespaces: Filespaces,
) -> Sequence[Explained]:
    return [
        _explain(path, place, found, seen, filespaces)
        for path, place in zip(typed, places, strict=True)
    ]


def _explain(
    typed: str,
    place: Place | Problem,
    found: Findings,
    seen: Mapping[str, Seen],
    filespaces: Filespaces,
) -> Explained:
    typed = echo(typed)
    if isinstance(place, Problem):
        return Explained(typed, error=place.reason)
    if problem := found.problems.get(place.path):
        return Explained(
            typed, None, None, place.filespace.name, place.rule, error=_reason(problem)
        )
    entry = found.entries.get(place.path)
    path = entry.path if entry else place.path
    led = Explained(
        typed, _relative(path, place), filespaces.relative(path), place.filespace.name, place.rule
    )
    return _known(led, entry) if entry else _unknown(led, seen.get(place.path, NOTHING))


def _known(led: Explained, entry: Entry) -> Explained:
    kind, size = (Kind.DIRECTORY, None) if entry.is_directory else (Kind.FILE, entry.size)
    return replace(led, is_indexed=True, kind=kind, size=size)


def _unknown(led: Explained, seen: Seen) -> Explained:
    if problem := problem_of(led.typed, seen):
        return replace(led, resolved=None, sendable=None, error=problem.reason)
    return replace(led, kind=seen.kind, size=seen.size if seen.kind is Kind.FILE else None)


def _relative(path: str, place: Place) -> str:
    return path[len(place.filespace.mount_point) + 1 :]


def _reason(problem: Problem) -> str:
    if not problem.candidates:
        return problem.reason
    return f"{problem.reason}: {', '.join(tell_apart(problem.candidates))}"
