"""Looks up resolved paths in the index, under their exact or a similar spelling.

A Mac sends decomposed letters (NFD), Windows and macOS ignore case. The exact spelling wins, found
in the index or else on the mount; then the only path that is canonically equivalent; then the only
one that differs in case. Several similar paths are an error.
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
MAX_CANDIDATES: Final = 5
LEADS_ELSEWHERE: Final = frozenset({PathKind.OUTSIDE, PathKind.FORBIDDEN})


class IndexEntry(NamedTuple):
    """An entry of the index: its absolute path, and a file's size in bytes.

    ``size`` is None if unknown, and for directories.
    """

    path: str
    is_directory: bool
    size: int | None


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The results by requested path; a path in neither mapping is not indexed.

    ``problems`` name the requested path, not what a client typed.
    """

    entries: Mapping[str, IndexEntry] = field(default_factory=dict)
    problems: Mapping[str, Problem] = field(default_factory=dict)


class PathLookup:
    """Queries the index, and checks the mount when the spelling is not exact."""

    def __init__(self, database: Database, mount: Mount, filespaces: Filespaces) -> None:
        self._database = database
        self._mount = mount
        self._filespaces = filespaces
        self._queries = load_queries("paths")

    def slow_query_slot(self) -> AbstractAsyncContextManager[None]:
        """A slot for queries of the index. Raises `Unavailable` if none is free in time."""
        return self._database.slow_query_slot("paths are being looked up")

    async def find(
        self, requested: Mapping[str, PathKind | None], own_prefixes: tuple[str, ...] = ()
    ) -> LookupResult:
        """Find the entry of each absolute path, in one query.

        ``requested`` maps a path to the kind that it should have: similar spellings of that kind
        are preferred; None: either kind. ``own_prefixes`` are those of the caller, see
        `Filespaces.narrowed`. Raises `DatabaseUnavailable`. Await it within `slow_query_slot` or
        `JobStore.slow_query_slot`.
        """
        if not requested:
            return LookupResult()
        rows = await self._fetch("look_up", requested)
        entries, similar = await run_in_thread_if_large(len(rows), self._split, rows)
        if not similar:
            return LookupResult(entries)
        missing = await self._missing(similar)
        candidates = {path: _of_kind(similar[path], requested[path]) for path in missing}
        filespaces = self._filespaces.narrowed(own_prefixes)
        chosen = await run_in_thread_if_large(len(candidates), _choose_all, candidates, filespaces)
        return LookupResult({**entries, **chosen.entries}, chosen.problems)

    async def without_files(self, directories: Iterable[str], recursive: bool) -> Sequence[str]:
        """Those of the absolute ``directories`` that contain no indexed file.

        Unless ``recursive``, files in subdirectories do not count. Needs a slot, as `find` does.
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
        """Exact matches, and similar ones, by requested path."""
        exact: dict[str, IndexEntry] = {}
        similar: defaultdict[str, list[IndexEntry]] = defaultdict(list)
        for row in rows:
            if row.is_exact:
                exact[row.path] = IndexEntry(row.path, row.is_directory is True, row.size)
            elif row.other is not None and self._same_filespace(row.path, row.other):
                similar[row.path].append(IndexEntry(row.other, row.is_directory is True, row.size))
        return exact, dict(similar)

    def _same_filespace(self, path: str, other: str) -> bool:
        """Whether both are in one filespace: a similar mount point is not a match."""
        filespace = self._filespaces.holding(path)
        return filespace is not None and self._filespaces.holding(other) is filespace

    async def _missing(self, similar: Iterable[str]) -> Sequence[str]:
        """The paths that are not on the mount either; those on it are new and not indexed yet."""
        paths = list(similar)
        statuses = await self._mount.stat_all(paths)
        present = (PathKind.FILE, PathKind.DIRECTORY, *LEADS_ELSEWHERE)
        return [path for path, it in zip(paths, statuses, strict=True) if it.kind not in present]


def problem_of(path: str, status: PathStatus) -> Problem | None:
    """The problem of a path that leads out of the filespace or the allowed folders, if it does."""
    if status.kind not in LEADS_ELSEWHERE:
        return None
    if status.kind is PathKind.FORBIDDEN:
        return Problem(path, NOT_ALLOWED, forbidden=True)
    return Problem(path, LEADS_OUT)


def _choose_all(
    candidates: Mapping[str, Sequence[IndexEntry]], filespaces: Filespaces
) -> LookupResult:
    choices = {path: _choose(path, similar, filespaces) for path, similar in candidates.items()}
    return LookupResult(
        {path: it for path, it in choices.items() if isinstance(it, IndexEntry)},
        {path: it for path, it in choices.items() if isinstance(it, Problem)},
    )


def _choose(
    path: str, similar: Sequence[IndexEntry], filespaces: Filespaces
) -> IndexEntry | Problem:
    composed = unicodedata.normalize("NFC", path)
    same = [it for it in similar if unicodedata.normalize("NFC", it.path) == composed]
    candidates = same or similar
    if len(candidates) > 1:
        reason = AMBIGUOUS.format(_kinds(candidates))
        return Problem(path, reason, candidates=_listed(candidates, filespaces))
    [entry] = candidates
    if not filespaces.allows(entry.path):
        return Problem(path, NOT_ALLOWED, forbidden=True)
    return entry


def _listed(candidates: Sequence[IndexEntry], filespaces: Filespaces) -> tuple[str, ...]:
    """Up to `MAX_CANDIDATES` relative paths; those that may not be cached are left out."""
    allowed = sorted(it.path for it in candidates if filespaces.allows(it.path))
    return tuple(map(filespaces.relative, allowed[:MAX_CANDIDATES]))


def _of_kind(similar: Sequence[IndexEntry], kind: PathKind | None) -> Sequence[IndexEntry]:
    """Those of the requested kind; all if there are none, so that the error names them."""
    if kind is None:
        return similar
    return [it for it in similar if it.is_directory == (kind is PathKind.DIRECTORY)] or similar


def _kinds(entries: Sequence[IndexEntry]) -> str:
    """The plural for the entries: directories or files."""
    return "directories" if all(it.is_directory for it in entries) else "files"
