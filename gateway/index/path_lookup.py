"""Resolved paths → what the index has for them, under that spelling or a like one.

A Mac sends letters taken apart (NFD), Windows and macOS do not keep to case. The exact spelling
wins wherever it is found, in the index or else on the mount; then the only one that is equal in
Unicode form; then the only one that is equal but for case. Several are never chosen from.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from gateway.database import Database, array_literal
from gateway.database.sql import load_queries
from gateway.mount.mount import Mount
from gateway.mount.path_status import PathKind, PathStatus
from gateway.paths import Filespaces, Problem
from gateway.paths.refusal import LEADS_OUT, NOT_ALLOWED
from gateway.runtime.offload import run_in_thread_if_large

AMBIGUOUS: Final = "it matches several {} that differ only in case or Unicode form"
CANDIDATES_SHOWN: Final = 5
LEADS_ELSEWHERE: Final = frozenset({PathKind.OUTSIDE, PathKind.FORBIDDEN})


class IndexEntry(NamedTuple):
    """What the index has: the absolute path as it spells it, and the bytes of a file.

    ``size`` is None where it is not known, as of directories.
    """

    path: str
    is_directory: bool
    size: int | None


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What was found of the paths that were asked for; what stands in neither is not indexed.

    ``problems`` name the path as it was asked for, not as a client typed it.
    """

    entries: Mapping[str, IndexEntry] = field(default_factory=dict)
    problems: Mapping[str, Problem] = field(default_factory=dict)


class PathLookup:
    """Asks the index, and the mount where the index is not sure."""

    def __init__(self, database: Database, mount: Mount, filespaces: Filespaces) -> None:
        self._database = database
        self._mount = mount
        self._filespaces = filespaces
        self._queries = load_queries("paths")

    def slow_query_slot(self) -> AbstractAsyncContextManager[None]:
        """One's turn to ask the index. Raises `Unavailable` if it does not come in time."""
        return self._database.slow_query_slot("paths are being looked up")

    async def find(
        self, wanted: Mapping[str, PathKind | None], own_prefixes: tuple[str, ...] = ()
    ) -> LookupResult:
        """What the index has for each absolute path, in one query.

        ``wanted`` says whether a path shall be a file or a directory: of spellings that are only
        alike those of that kind come first. None: both. ``own_prefixes`` are those of the caller,
        see `Filespaces.narrowed`. Raises `DatabaseUnavailable`. To be awaited in a turn, see
        `slow_query_slot` and `JobStore.slow_query_slot`.
        """
        if not wanted:
            return LookupResult()
        rows = await self._fetch("look_up", wanted)
        entries, alike = await run_in_thread_if_large(len(rows), self._split, rows)
        if not alike:
            return LookupResult(entries)
        open_to_choice = await self._missing(alike)
        candidates = {path: _of_kind(alike[path], wanted[path]) for path in open_to_choice}
        filespaces = self._filespaces.narrowed(own_prefixes)
        chosen = await run_in_thread_if_large(len(candidates), _choose_all, candidates, filespaces)
        return LookupResult({**entries, **chosen.entries}, chosen.problems)

    async def without_files(self, directories: Iterable[str], recursive: bool) -> Sequence[str]:
        """Those of the absolute paths in which the index knows no file.

        Unless ``recursive``, files in their subdirectories do not count. In a turn, as `find`.
        """
        paths = list(directories)
        if not paths:
            return []
        rows = await self._fetch("without_files", paths, recursive=recursive)
        return [row.path for row in rows]

    async def _fetch(self, query: str, paths: Iterable[str], **more: bool) -> Sequence[Any]:
        names = list(paths)
        parameters = {
            "paths": await run_in_thread_if_large(len(names), array_literal, names),
            **more,
        }
        return await self._database.fetch(self._queries[query], parameters)

    def _split(
        self, rows: Sequence[Any]
    ) -> tuple[dict[str, IndexEntry], dict[str, list[IndexEntry]]]:
        """What was found as it was asked for, and what is alike."""
        exact: dict[str, IndexEntry] = {}
        alike: defaultdict[str, list[IndexEntry]] = defaultdict(list)
        for row in rows:
            if row.is_exact:
                exact[row.path] = IndexEntry(row.path, row.is_directory is True, row.size)
            elif row.other is not None and self._same_filespace(row.path, row.other):
                alike[row.path].append(IndexEntry(row.other, row.is_directory is True, row.size))
        return exact, dict(alike)

    def _same_filespace(self, path: str, other: str) -> bool:
        """Whether both lie in one filespace: its own mount point is not looked for by likeness."""
        filespace = self._filespaces.holding(path)
        return filespace is not None and self._filespaces.holding(other) is filespace

    async def _missing(self, alike: Iterable[str]) -> Sequence[str]:
        """Those that the mount does not have either. What it has is new, and not in the index."""
        paths = list(alike)
        seen = await self._mount.stat_all(paths)
        there = (PathKind.FILE, PathKind.DIRECTORY, *LEADS_ELSEWHERE)
        return [path for path, it in zip(paths, seen, strict=True) if it.kind not in there]


def problem_of(path: str, seen: PathStatus) -> Problem | None:
    """What is wrong with a path for where it really leads, if anything is."""
    if seen.kind not in LEADS_ELSEWHERE:
        return None
    if seen.kind is PathKind.FORBIDDEN:
        return Problem(path, NOT_ALLOWED, forbidden=True)
    return Problem(path, LEADS_OUT)


def _choose_all(
    candidates: Mapping[str, Sequence[IndexEntry]], filespaces: Filespaces
) -> LookupResult:
    choices = {path: _choose(path, alike, filespaces) for path, alike in candidates.items()}
    return LookupResult(
        {path: it for path, it in choices.items() if isinstance(it, IndexEntry)},
        {path: it for path, it in choices.items() if isinstance(it, Problem)},
    )


def _choose(path: str, alike: Sequence[IndexEntry], filespaces: Filespaces) -> IndexEntry | Problem:
    composed = unicodedata.normalize("NFC", path)
    same = [it for it in alike if unicodedata.normalize("NFC", it.path) == composed]
    candidates = same or alike
    if len(candidates) > 1:
        reason = AMBIGUOUS.format(_kinds(candidates))
        return Problem(path, reason, candidates=_shown(candidates, filespaces))
    [entry] = candidates
    if not filespaces.allows(entry.path):
        return Problem(path, NOT_ALLOWED, forbidden=True)
    return entry


def _shown(candidates: Sequence[IndexEntry], filespaces: Filespaces) -> tuple[str, ...]:
    """A few of them, relative; of what may not be cached nothing is told."""
    allowed = sorted(it.path for it in candidates if filespaces.allows(it.path))
    return tuple(map(filespaces.relative, allowed[:CANDIDATES_SHOWN]))


def _of_kind(alike: Sequence[IndexEntry], kind: PathKind | None) -> Sequence[IndexEntry]:
    """Those that are of the kind that is wanted; all if none is, for it to be told."""
    if kind is None:
        return alike
    return [it for it in alike if it.is_directory == (kind is PathKind.DIRECTORY)] or alike


def _kinds(entries: Sequence[IndexEntry]) -> str:
    """What they are called together."""
    return "directories" if all(it.is_directory for it in entries) else "files"
