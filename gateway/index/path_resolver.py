"""Resolves typed paths: the target, the rule that applied, and what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.index.path_lookup import IndexEntry, LookupResult, PathLookup, problem_of
from gateway.mount.mount import Mount
from gateway.mount.path_status import PathKind, PathStatus
from gateway.paths import Filespaces, PathTarget, Problem, Rule, explain_all
from gateway.paths.refusal import echo, tell_apart
from gateway.runtime.offload import run_in_thread_if_large

UNKNOWN_STATUS: Final = PathStatus(PathKind.UNKNOWN)


@dataclass(frozen=True, slots=True)
class PathResolution:
    """One typed path and its resolution.

    ``resolved`` is relative to ``filespace``, as the index spells it; empty for the whole
    filespace, None if the path is refused with ``error``. ``sendable`` is the form to send, which
    starts with the filespace's name if there are several. ``kind`` is `PathKind.FILE` or
    `PathKind.DIRECTORY`, otherwise nothing is known. ``size`` is a file's, in bytes.
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
    """Resolves paths by the index, and by the mount if they are not indexed."""

    def __init__(self, lookup: PathLookup, mount: Mount, filespaces: Filespaces) -> None:
        self._lookup = lookup
        self._mount = mount
        self._filespaces = filespaces

    async def explain(
        self, typed: Sequence[str], own_prefixes: tuple[str, ...] = ()
    ) -> Sequence[PathResolution]:
        """Resolve each path, in the order given. Changes nothing.

        ``own_prefixes`` are those of the caller, see `Filespaces.narrowed`. Raises `Unavailable`
        if no query slot is free, and `DatabaseUnavailable`.
        """
        filespaces = self._filespaces.narrowed(own_prefixes)
        paths = await run_in_thread_if_large(len(typed), explain_all, typed, filespaces)
        named = dict.fromkeys(it.path for it in paths if isinstance(it, PathTarget))
        async with self._lookup.slow_query_slot():
            found = await self._lookup.find(named, own_prefixes)
        unknown = [it for it in named if it not in found.entries and it not in found.problems]
        statuses = dict(
            zip(unknown, await self._mount.stat_all(unknown, own_prefixes), strict=True)
        )
        return await run_in_thread_if_large(
            len(typed), _explain_all, typed, paths, found, statuses, filespaces
        )


def _explain_all(
    typed: Sequence[str],
    paths: Sequence[PathTarget | Problem],
    found: LookupResult,
    statuses: Mapping[str, PathStatus],
    filespaces: Filespaces,
) -> Sequence[PathResolution]:
    return [
        _explain(text, path, found, statuses, filespaces)
        for text, path in zip(typed, paths, strict=True)
    ]


def _explain(
    typed: str,
    path: PathTarget | Problem,
    found: LookupResult,
    statuses: Mapping[str, PathStatus],
    filespaces: Filespaces,
) -> PathResolution:
    typed = echo(typed)
    if isinstance(path, Problem):
        return PathResolution(typed, error=path.reason)
    if problem := found.problems.get(path.path):
        return PathResolution(
            typed, None, None, path.filespace.name, path.rule, error=_reason(problem)
        )
    entry = found.entries.get(path.path)
    target = entry.path if entry else path.path
    resolution = PathResolution(
        typed, _relative(target, path), filespaces.relative(target), path.filespace.name, path.rule
    )
    return (
        _with_entry(resolution, entry)
        if entry
        else _with_status(resolution, statuses.get(path.path, UNKNOWN_STATUS))
    )


def _with_entry(resolution: PathResolution, entry: IndexEntry) -> PathResolution:
    kind, size = (PathKind.DIRECTORY, None) if entry.is_directory else (PathKind.FILE, entry.size)
    return replace(resolution, is_indexed=True, kind=kind, size=size)


def _with_status(resolution: PathResolution, status: PathStatus) -> PathResolution:
    if problem := problem_of(resolution.typed, status):
        return replace(resolution, resolved=None, sendable=None, error=problem.reason)
    return replace(
        resolution, kind=status.kind, size=status.size if status.kind is PathKind.FILE else None
    )


def _relative(target: str, path: PathTarget) -> str:
    return target[len(path.filespace.mount_point) + 1 :]


def _reason(problem: Problem) -> str:
    if not problem.candidates:
        return problem.reason
    return f"{problem.reason}: {', '.join(tell_apart(problem.candidates))}"
