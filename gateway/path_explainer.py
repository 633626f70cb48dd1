"""What becomes of a path that a client typed: where it leads, by which rule, and what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.aside import compute
from gateway.mount import Mount
from gateway.path_lookup import Entry, Findings, PathLookup
from gateway.paths import Filespaces, Place, Problem, Rule, explain_all
from gateway.paths.refusal import LEADS_OUT, echo, tell_apart
from gateway.sight import Kind, Seen

NOTHING: Final = Seen(Kind.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Explained:
    """One path: as it was typed, and what it means.

    ``resolved`` is relative to ``filespace``, as the index spells it; empty for all of it, None if
    the path is refused, for the reason ``error``. ``kind`` is `Kind.FILE` or `Kind.DIRECTORY`, else
    nothing is known of it. ``size`` is a file's, in bytes.
    """

    typed: str
    resolved: str | None = None
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
        found = await self._lookup.find(named, own_prefixes)
        unknown = [it for it in named if it not in found.entries and it not in found.problems]
        seen = dict(zip(unknown, await self._mount.look_at(unknown), strict=True))
        return await compute(len(typed), _explain_all, typed, places, found, seen)


def _explain_all(
    typed: Sequence[str],
    places: Sequence[Place | Problem],
    found: Findings,
    seen: Mapping[str, Seen],
) -> Sequence[Explained]:
    return [_explain(path, place, found, seen) for path, place in zip(typed, places, strict=True)]


def _explain(
    typed: str, place: Place | Problem, found: Findings, seen: Mapping[str, Seen]
) -> Explained:
    typed = echo(typed)
    if isinstance(place, Problem):
        return Explained(typed, error=place.reason)
    if problem := found.problems.get(place.path):
        return Explained(typed, None, place.filespace.name, place.rule, error=_reason(problem))
    if entry := found.entries.get(place.path):
        return _known(typed, place, entry)
    return _unknown(typed, place, seen.get(place.path, NOTHING))


def _known(typed: str, place: Place, entry: Entry) -> Explained:
    kind, size = (Kind.DIRECTORY, None) if entry.is_directory else (Kind.FILE, entry.size)
    return Explained(
        typed, _relative(entry.path, place), place.filespace.name, place.rule, True, kind, size
    )


def _unknown(typed: str, place: Place, seen: Seen) -> Explained:
    if seen.kind is Kind.OUTSIDE:
        return Explained(typed, None, place.filespace.name, place.rule, error=LEADS_OUT)
    size = seen.size if seen.kind is Kind.FILE else None
    resolved = _relative(place.path, place)
    return Explained(
        typed, resolved, place.filespace.name, place.rule, kind=seen.kind, size=size
    )  # fmt: skip


def _relative(path: str, place: Place) -> str:
    return path[len(place.filespace.mount_point) + 1 :]


def _reason(problem: Problem) -> str:
    if not problem.candidates:
        return problem.reason
    return f"{problem.reason}: {', '.join(tell_apart(problem.candidates))}"
