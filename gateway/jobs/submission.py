"""A caller's files and directories → a cache job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import orjson

from gateway.auth.callers import Caller
from gateway.errors import InvalidPath, NoFilesFound
from gateway.index.path_lookup import IndexEntry, LookupResult, PathLookup, problem_of
from gateway.job import CreatedJob
from gateway.jobs.idempotency import Idempotency, IdempotentRequest, StoredResponse
from gateway.jobs.store import JobRequest, JobStore
from gateway.mount.mount import Mount
from gateway.mount.path_status import DirectoryContent, PathKind, PathStatus
from gateway.paths import Filespaces, quote, resolve_all
from gateway.paths.refusal import to_error
from gateway.runtime.offload import run_in_thread_if_large
from gateway.schemas.serializers import serialize_created

# Resolved paths: with their bytes, with what the caller typed, with what the index has.
Sizes = Mapping[str, int]
Typed = dict[str, str]
Entries = Mapping[str, IndexEntry]


class _Listed(NamedTuple):
    """Listed files: those that the index knows, as it spells them, and the others."""

    indexed: Sizes
    unknown: Sequence[str]


@dataclass(frozen=True, slots=True)
class SubmittedPaths:
    """Files and directories as the caller typed them; ``recursive`` includes subdirectories."""

    files: Sequence[str]
    directories: Sequence[str]
    recursive: bool


class Submission:
    """Turns what a caller typed into a job, or says what is wrong with it in the caller's words."""

    def __init__(
        self,
        job_store: JobStore,
        idempotency: Idempotency,
        lookup: PathLookup,
        mount: Mount,
        filespaces: Filespaces,
    ) -> None:
        self._job_store = job_store
        self._idempotency = idempotency
        self._lookup = lookup
        self._mount = mount
        self._filespaces = filespaces

    async def submit(
        self, paths: SubmittedPaths, caller: Caller, repeatable: IdempotentRequest | None = None
    ) -> StoredResponse:
        """Create a job for the files and for what is in the directories, in the caller's name.

        A file that also lies inside a directory counts once. If ``repeatable`` was answered
        before, the response is that answer. Raises `InvalidPath` for a directory among the files
        or the reverse, and for a name that is ambiguous or outside the filespace,
        `PathNotAllowed` for what lies outside the allowed prefixes and for a link that leads
        there, `NoFilesFound` for a directory in which nothing is indexed, `Unavailable` if too
        many are being submitted, and what `Idempotency.begin` raises; nothing is created then.
        """
        if repeatable is None:
            return await self._create(paths, caller, None)
        async with self._idempotency.begin(repeatable) as stored:
            return stored or await self._create(paths, caller, repeatable)

    async def _create(
        self, paths: SubmittedPaths, caller: Caller, repeatable: IdempotentRequest | None
    ) -> StoredResponse:
        filespaces = self._filespaces.narrowed(caller.grants.path_prefixes)
        files = await _resolve(paths.files, filespaces)
        directories = await _resolve(paths.directories, filespaces)
        # One slot for all queries: a submit that has waited for it does not wait again.
        async with self._job_store.slow_query_slot():
            request, respond = await self._prepare(files, directories, paths.recursive, caller)
            claim = self._idempotency.claim(repeatable, respond) if repeatable else None
            job = await self._job_store.create(request, claim)
            return claim.response if claim else respond(job)

    async def _prepare(
        self, files: Typed, directories: Typed, recursive: bool, caller: Caller
    ) -> tuple[JobRequest, Callable[[CreatedJob], StoredResponse]]:
        """What to create, and how to respond once it is created."""
        own_prefixes = caller.grants.path_prefixes
        found = await self._find(files, directories, own_prefixes)
        trees = await self._check_directories(directories, found.entries, recursive, own_prefixes)
        listed = await run_in_thread_if_large(len(files), _split, files, found.entries)
        nothing_else = not (listed.indexed or trees)
        sizes = await self._measure(listed.unknown, files, own_prefixes, nothing_else=nothing_else)
        request = await run_in_thread_if_large(
            len(files) + len(trees),
            _job_request, listed.indexed, sizes, trees, recursive, caller.key_name,
        )  # fmt: skip
        respelled = await run_in_thread_if_large(
            len(files), self._respelled, files | directories, found.entries
        )
        return request, partial(_respond, [files[path] for path in sizes], respelled)

    async def _find(
        self, files: Typed, directories: Typed, own_prefixes: tuple[str, ...]
    ) -> LookupResult:
        wanted = dict.fromkeys(files, PathKind.FILE) | dict.fromkeys(
            directories, PathKind.DIRECTORY
        )
        found = await self._lookup.find(wanted, own_prefixes)
        if found.problems:
            typed = files | directories
            raise to_error([replace(it, path=typed[it.path]) for it in found.problems.values()])
        return found

    def _respelled(self, typed: Typed, entries: Entries) -> Sequence[tuple[str, str]]:
        return [
            (typed[path], self._filespaces.relative(entry.path))
            for path, entry in entries.items()
            if path != entry.path
        ]

    async def _check_directories(
        self,
        directories: Typed,
        entries: Entries,
        recursive: bool,
        own_prefixes: tuple[str, ...],
    ) -> Sequence[str]:
        """The directories as the index spells them, each once; there are files in all of them."""
        known = {path: entries[path] for path in directories if path in entries}
        if wrong := [directories[path] for path, it in known.items() if not it.is_directory]:
            raise _listed_as_directory(wrong)
        spelled = {path: known[path].path if path in known else path for path in directories}
        without = frozenset(await self._lookup.without_files(spelled.values(), recursive))
        if empty := {it: directories[path] for path, it in spelled.items() if it in without}:
            await self._refuse_empty(empty, recursive, own_prefixes)
        return list(dict.fromkeys(spelled.values()))

    async def _refuse_empty(
        self, empty: Typed, recursive: bool, own_prefixes: tuple[str, ...]
    ) -> None:
        """Refuse directories of which the index knows no file, and say why if the mount tells."""
        seen = await self._mount.stat_all(list(empty), own_prefixes)
        typed, kinds = list(empty.values()), {it.kind for it in seen}
        _refuse_outside(typed, seen)
        if wrong := [
            name for name, it in zip(typed, seen, strict=True) if it.kind is PathKind.FILE
        ]:
            raise _listed_as_directory(wrong)
        contents: set[DirectoryContent] = set()
        if kinds == {PathKind.DIRECTORY}:
            contents = set(await self._mount.contents_of(list(empty), recursive))
        reason = _why_empty(kinds, contents, len(typed), recursive)
        raise NoFilesFound(f"No files found in {_name(typed)}{reason}", typed)

    async def _measure(
        self,
        paths: Sequence[str],
        typed: Typed,
        own_prefixes: tuple[str, ...],
        *,
        nothing_else: bool,
    ) -> Sizes:
        """The bytes of files that the index does not know, 0 where the mount cannot tell.

        ``nothing_else``: the job would hold no other file, so one of these has to exist.
        """
        if not paths:
            return {}
        seen = dict(zip(paths, await self._mount.stat_all(paths, own_prefixes), strict=True))
        _refuse_outside([typed[path] for path in paths], list(seen.values()))
        if wrong := [typed[path] for path, it in seen.items() if it.kind is PathKind.DIRECTORY]:
            raise _listed_as_file(wrong)
        all_missing = all(it.kind is PathKind.MISSING for it in seen.values())
        if nothing_else and all_missing:
            missing = [typed[path] for path in paths]
            verb = "does" if len(missing) == 1 else "do"
            raise NoFilesFound(f"No files found: {_name(missing)} {verb} not exist", missing)
        return {path: it.size for path, it in seen.items()}


async def _resolve(typed: Sequence[str], filespaces: Filespaces) -> Typed:
    """What was typed, by the path that it names: a path named twice counts once."""
    resolved = await run_in_thread_if_large(len(typed), resolve_all, typed, filespaces)
    return dict(zip(resolved, typed, strict=True))


def _respond(
    unindexed: Sequence[str], respelled: Sequence[tuple[str, str]], job: CreatedJob
) -> StoredResponse:
    body = serialize_created(job, unindexed, respelled)
    return StoredResponse(job.id, orjson.dumps(body))


def _split(files: Typed, entries: Entries) -> _Listed:
    known = {path: entries[path] for path in files if path in entries}
    if wrong := [files[path] for path, it in known.items() if it.is_directory]:
        raise _listed_as_file(wrong)
    indexed = {it.path: int(it.size or 0) for it in known.values()}
    return _Listed(indexed, [path for path in files if path not in known])


def _job_request(
    indexed: Sizes,
    unindexed: Sizes,
    directories: Sequence[str],
    recursive: bool,
    submitted_by: str | None,
) -> JobRequest:
    """Take out what a listed directory holds anyway, so that each file counts once."""
    listed = frozenset(directories)
    loose = {p: n for p, n in indexed.items() if not _is_covered(p, listed, recursive)}
    maybe = {p: n for p, n in unindexed.items() if _is_covered(p, listed, recursive)}
    loose |= {p: n for p, n in unindexed.items() if p not in maybe}
    outermost = [d for d in directories if not (recursive and _is_covered(d, listed, True))]
    return JobRequest(
        listed_files=[*indexed, *unindexed],
        listed_directories=directories,
        paths=list(loose),
        sizes=list(loose.values()),
        trees=outermost if recursive else [],
        folders=[] if recursive else outermost,
        maybe=maybe,
        submitted_by=submitted_by,
    )


def _is_covered(path: str, directories: frozenset[str], recursive: bool) -> bool:
    """Whether one of the directories holds the path, at any depth if ``recursive``."""
    if not directories:
        return False
    if not recursive:
        return path.rpartition("/")[0] in directories
    while path := path.rpartition("/")[0]:
        if path in directories:
            return True
    return False


def _listed_as_file(paths: Sequence[str]) -> InvalidPath:
    return InvalidPath(f"Listed under files, but a directory: {_name(paths)}", paths)


def _listed_as_directory(paths: Sequence[str]) -> InvalidPath:
    return InvalidPath(f"Listed under directories, but a file: {_name(paths)}", paths)


def _refuse_outside(typed: Sequence[str], seen: Sequence[PathStatus]) -> None:
    if problems := [it for it in map(problem_of, typed, seen) if it is not None]:
        raise to_error(problems)


def _why_empty(
    kinds: AbstractSet[PathKind],
    contents: AbstractSet[DirectoryContent],
    count: int,
    recursive: bool,
) -> str:
    """What the mount says of directories without indexed files; nothing if it is divided."""
    if kinds == {PathKind.MISSING}:
        return ": it does not exist" if count == 1 else ": they do not exist"
    if kinds != {PathKind.DIRECTORY}:
        return ""
    if contents == {DirectoryContent.NOTHING}:
        return ": it is empty" if count == 1 else ": they are empty"
    if DirectoryContent.UNKNOWN not in contents:
        return ": there are only folders in " + ("it" if count == 1 else "them")
    directly = "" if recursive else "directly "
    if count == 1:
        return f": it exists, but nothing {directly}in it is indexed yet"
    return f": they exist, but nothing {directly}in them is indexed yet"


def _name(paths: Sequence[str]) -> str:
    """The first of the paths, and how many more there are."""
    first = quote(paths[0])
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{first}{more}"
