"""What becomes of a path that a client typed: where it leads, by which rule, and what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.index.path_lookup import IndexEntry, LookupResult, PathLookup, problem_of
from gateway.mount.mount import Mount
from gateway.mount.path_status import PathKind, PathStatus
from gateway.paths import Filespaces, Place, Problem, Rule, explain_all
from gateway.paths.refusal import echo, tell_apart
from gateway.runtime.offload import run_in_thread_if_large

NOTHING: Final = PathStatus(PathKind.UNKNOWN)


@dataclass(frozen=True, slots=True)
class PathResolution:
    """One path: as it was typed, and what it means.

    ``resolved`` is relative to ``filespace``, as the index spells it; empty for all of it, None if
    the path is refused, for the reason ``error``. ``sendable`` asks for the same when it is sent:
    of several filespaces it begins with the name. ``kind`` is `PathKind.FILE` or
    `PathKind.DIRECTORY`, else nothing is known. ``size`` is a file's, in bytes.
    """

    typed: str
    resolved: str | None = None
    sendable: str | None = None
    filespace: str | None = None
    rule: Rule | None = None
    is_indexed: bool = False
    kind: PathKind = PathKind.UNKNOWN
    size: int | None = None
    error: str | None = None


class PathResolver:
    """Explains paths from the index, and from the mount what that does not know."""

    def __init__(self, lookup: PathLookup, mount: Mount, filespaces: Filespaces) -> None:
        self._lookup = lookup
        self._mount = mount
        self._filespaces = filespaces

    async def explain(
        self, typed: Sequence[str], own_prefixes: tuple[str, ...] = ()
    ) -> Sequence[PathResolution]:
        """What each path means, in the order given. Nothing is created.

        ``own_prefixes`` are those of the caller, see `Filespaces.narrowed`. Raises `Unavailable`
        if too many ask, `DatabaseUnavailable`.
        """
        filespaces = self._filespaces.narrowed(own_prefixes)
        places = await run_in_thread_if_large(len(typed), explain_all, typed, filespaces)
        named = dict.fromkeys(place.path for place in places if isinstance(place, Place))
        async with self._lookup.slow_query_slot():
            found = await self._lookup.find(named, own_prefixes)
        unknown = [it for it in named if it not in found.entries and it not in found.problems]
        seen = dict(zip(unknown, await self._mount.stat_all(unknown, own_prefixes), strict=True))
        return await run_in_thread_if_large(
            len(typed), _explain_all, typed, places, found, seen, filespaces
        )


def _explain_all(
    typed: Sequence[str],
    places: Sequence[Place | Problem],
    found: LookupResult,
    seen: Mapping[str, PathStatus],
    filespaces: Filespaces,
) -> Sequence[PathResolution]:
    return [
        _explain(path, place, found, seen, filespaces)
        for path, place in zip(typed, places, strict=True)
    ]


def _explain(
    typed: str,
    place: Place | Problem,
    found: LookupResult,
    seen: Mapping[str, PathStatus],
    filespaces: Filespaces,
) -> PathResolution:
    typed = echo(typed)
    if isinstance(place, Problem):
        return PathResolution(typed, error=place.reason)
    if problem := found.problems.get(place.path):
        return PathResolution(
            typed, None, None, place.filespace.name, place.rule, error=_reason(problem)
        )
    entry = found.entries.get(place.path)
    path = entry.path if entry else place.path
    led = PathResolution(
        typed, _relative(path, place), filespaces.relative(path), place.filespace.name, place.rule
    )
    return _known(led, entry) if entry else _unknown(led, seen.get(place.path, NOTHING))


def _known(led: PathResolution, entry: IndexEntry) -> PathResolution:
    kind, size = (PathKind.DIRECTORY, None) if entry.is_directory else (PathKind.FILE, entry.size)
    return replace(led, is_indexed=True, kind=kind, size=size)


def _unknown(led: PathResolution, seen: PathStatus) -> PathResolution:
    if problem := problem_of(led.typed, seen):
        return replace(led, resolved=None, sendable=None, error=problem.reason)
    return replace(led, kind=seen.kind, size=seen.size if seen.kind is PathKind.FILE else None)


def _relative(path: str, place: Place) -> str:
    return path[len(place.filespace.mount_point) + 1 :]


def _reason(problem: Problem) -> str:
    if not problem.candidates:
        return problem.reason
    return f"{problem.reason}: {', '.join(tell_apart(problem.candidates))}"
