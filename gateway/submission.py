"""A caller's files and directories → a cache job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from gateway.aside import compute
from gateway.database import Database, array_literal
from gateway.errors import InvalidPath, NoFilesFound
from gateway.job_store import Beside, CreatedJob, JobRequest, JobStore
from gateway.mount import Kind, Mount
from gateway.paths import quote
from gateway.sql import load_queries

# Resolved paths: with their bytes, and with what the caller typed.
Sizes = Mapping[str, int]
Typed = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job that was created, and the listed files that the index does not know, as typed."""

    job: CreatedJob
    unindexed: Sequence[str]


class Submission:
    """Turns resolved paths into a job, or says what is wrong with them in the caller's words."""

    def __init__(self, database: Database, job_store: JobStore, mount: Mount) -> None:
        self._database = database
        self._job_store = job_store
        self._mount = mount
        self._queries = load_queries("jobs")

    async def submit(
        self,
        files: Typed,
        directories: Typed,
        recursive: bool,
        submitted_by: str | None = None,
        keep: Callable[[Sequence[str]], Beside] | None = None,
    ) -> Submitted:
        """Create a job for ``files`` and for what lies in ``directories``, in the name of a key.

        A file that also lies inside a directory counts once. Raises `InvalidPath` for a directory
        among the files or the reverse, `NoFilesFound` for a directory in which nothing is
        indexed, `Unavailable` if too many are being submitted; nothing is created then. ``keep``
        says, given the ``unindexed`` files, what the job's transaction does besides.
        """
        await self._check_directories(directories, recursive)
        indexed, unknown = await self._look_up(files)
        unindexed = await self._measure(unknown, files, nothing_else=not (indexed or directories))
        request = await compute(
            len(files) + len(directories),
            _job_request, indexed, unindexed, list(directories), recursive, submitted_by,
        )  # fmt: skip
        as_typed = [files[path] for path in unindexed]
        job = await self._job_store.create(request, keep(as_typed) if keep is not None else None)
        return Submitted(job, as_typed)

    async def _check_directories(self, directories: Typed, recursive: bool) -> None:
        if not directories:
            return
        rows = await self._fetch("look_up_directories", directories, recursive=recursive)
        if wrong := [directories[row.path] for row in rows if row.is_file]:
            raise _listed_as_directory(wrong)
        if empty := {row.path: directories[row.path] for row in rows if not row.has_files}:
            await self._refuse_empty(empty, recursive)

    async def _refuse_empty(self, empty: Typed, recursive: bool) -> None:
        """Refuse directories of which the index knows no file, and say why if the mount tells."""
        seen = await self._mount.look_at(list(empty))
        typed, kinds = list(empty.values()), {it.kind for it in seen}
        if wrong := [name for name, it in zip(typed, seen, strict=True) if it.kind is Kind.FILE]:
            raise _listed_as_directory(wrong)
        reason = _why_empty(kinds, len(typed), recursive)
        raise NoFilesFound(f"No files found in {_name(typed)}{reason}", typed)

    async def _look_up(self, files: Typed) -> tuple[Sizes, Sequence[str]]:
        """Split the listed files: those that the index knows, with their bytes, and the others."""
        if not files:
            return {}, []
        rows = await self._fetch("look_up_files", files)
        return await compute(len(rows), _split, rows, files)

    async def _fetch(self, query: str, paths: Typed, **more: bool) -> Sequence[Any]:
        parameters = {"paths": await compute(len(paths), array_literal, paths), **more}
        async with self._database.slow_turn():
            return await self._database.fetch(self._queries[query], parameters)

    async def _measure(self, paths: Sequence[str], typed: Typed, *, nothing_else: bool) -> Sizes:
        """The bytes of files that the index does not know, 0 where the mount cannot tell.

        ``nothing_else``: the job would hold no other file, so one of these has to exist.
        """
        if not paths:
            return {}
        seen = dict(zip(paths, await self._mount.look_at(paths), strict=True))
        if wrong := [typed[path] for path, it in seen.items() if it.kind is Kind.DIRECTORY]:
            raise _listed_as_file(wrong)
        all_missing = all(it.kind is Kind.MISSING for it in seen.values())
        if nothing_else and all_missing:
            missing = [typed[path] for path in paths]
            verb = "does" if len(missing) == 1 else "do"
            raise NoFilesFound(f"No files found: {_name(missing)} {verb} not exist", missing)
        return {path: it.size for path, it in seen.items()}


def _split(rows: Sequence[Any], typed: Typed) -> tuple[Sizes, Sequence[str]]:
    if wrong := [typed[row.path] for row in rows if row.is_directory]:
        raise _listed_as_file(wrong)
    indexed = {row.path: int(row.size or 0) for row in rows if row.indexed}
    return indexed, [row.path for row in rows if not row.indexed]


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


def _why_empty(kinds: AbstractSet[Kind], count: int, recursive: bool) -> str:
    """What the mount says of directories without indexed files; nothing if it is divided."""
    if kinds == {Kind.MISSING}:
        return ": it does not exist" if count == 1 else ": they do not exist"
    if kinds != {Kind.DIRECTORY}:
        return ""
    directly = "" if recursive else "directly "
    if count == 1:
        return f": it exists, but nothing {directly}in it is indexed yet"
    return f": they exist, but nothing {directly}in them is indexed yet"


def _name(paths: Sequence[str]) -> str:
    """The first of the paths, and how many more there are."""
    first = quote(paths[0])
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{first}{more}"
