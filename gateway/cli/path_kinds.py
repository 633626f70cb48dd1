"""Which of the given paths are directories: the gateway knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.client import GatewayClient, GatewayClientError, SubmittedJob

NOT_FOUND = 404
LISTED_AS_FILE = "Listed under files, but a directory"
# A gateway finds directories among the files first in its index, then in its mount.
MOVES = 2


@dataclass(frozen=True, slots=True)
class Sorted:
    """Paths by what they are."""

    files: Sequence[str]
    directories: Sequence[str]


async def submit_paths(
    client: GatewayClient,
    paths: Sequence[str],
    as_directories: bool,
    recursive: bool,
    key: str | None = None,
) -> SubmittedJob:
    """Create a job from paths, files and directories alike; ``key`` is the idempotency key.

    What the gateway does not know is a file, or a directory if it ends with a slash or
    ``as_directories``.
    """
    wanted = await sort_paths(client, paths, as_directories)
    for _ in range(MOVES):
        try:
            return await _submit(client, wanted, recursive, key)
        except GatewayClientError as error:
            wanted = _moved(wanted, error)
    return await _submit(client, wanted, recursive, key)


async def _submit(
    client: GatewayClient, wanted: Sorted, recursive: bool, key: str | None
) -> SubmittedJob:
    return await client.submit(
        files=wanted.files,
        directories=wanted.directories,
        recursive=recursive,
        idempotency_key=key,
    )


async def sort_paths(client: GatewayClient, paths: Sequence[str], as_directories: bool) -> Sorted:
    """Tell files from directories as the gateway does, else by how they are written."""
    try:
        kinds = [path.kind for path in await client.resolve(paths)]
    except GatewayClientError as error:
        # An older gateway does not offer it.
        if error.status != NOT_FOUND:
            raise
        kinds = [None] * len(paths)
    is_directory = [
        kind == "directory" if kind else as_directories or path.endswith(("/", "\\"))
        for path, kind in zip(paths, kinds, strict=True)
    ]
    return Sorted(
        [path for path, yes in zip(paths, is_directory, strict=True) if not yes],
        [path for path, yes in zip(paths, is_directory, strict=True) if yes],
    )


def _moved(wanted: Sorted, error: GatewayClientError) -> Sorted:
    """The paths with those as directories that the gateway says are; else raises its refusal."""
    named = error.details if isinstance(error.details, list) else []
    wrong = {path for path in named if isinstance(path, str)} & set(wanted.files)
    if not (str(error).startswith(LISTED_AS_FILE) and wrong):
        raise error
    return Sorted(
        [path for path in wanted.files if path not in wrong],
        [*wanted.directories, *(path for path in wanted.files if path in wrong)],
    )
