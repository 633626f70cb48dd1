"""The private folder that holds the server's socket."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.errors import EmbeddedPostgresError
from gateway.standalone.postgres.account import Account, find_blocked

PORT: Final = 5432
SOCKET: Final = f".s.PGSQL.{PORT}"
# Linux has room for 107 bytes, macOS for 103.
MAX_PATH_BYTES: Final = 103
PREFIX: Final = "teamcache-"


def make_socket_folder(data_dir: Path, account: Account, before: Path | None = None) -> Path:
    """Make a folder that ``account`` alone may enter, its path short enough for a socket.

    It is ``data_dir/socket`` if that is short enough, else one below the system's folder for
    temporary files, and ``data_dir/socket.path`` says where. ``before`` is the one of an earlier
    start, which clients know: it is made again unless somebody else took its name meanwhile.
    """
    remove_socket_folder(data_dir)
    if _can_hold_socket(folder := data_dir / "socket"):
        folder.mkdir(mode=0o700)
    else:
        is_made = before is not None and _make_again(before, account)
        folder = before if before and is_made else _make_elsewhere(account)
        _record_of(data_dir).write_text(f"{folder}\n")
    account.take(folder)
    return folder


def _make_again(folder: Path, account: Account) -> bool:
    """Whether the folder is there, ours and nobody else's."""
    with suppress(OSError):
        folder.mkdir(mode=0o700)
        return True
    # It stayed, since something else lies in it; others may make names in a temporary folder too.
    with suppress(OSError):
        found = folder.lstat()
        is_private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        return is_private and found.st_uid in (os.geteuid(), account.uid)
    return False


def _make_elsewhere(account: Account) -> Path:
    for base in _list_temporary_folders():
        if find_blocked(account, base) is None and _can_hold_socket(base / f"{PREFIX}xxxxxxxx"):
            return Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    raise EmbeddedPostgresError(
        "There is no folder with a path short enough for PostgreSQL's socket, "
        "set TMPDIR to one that exists"
    )


def _list_temporary_folders() -> Iterable[Path]:
    yield Path(tempfile.gettempdir()).resolve()
    yield Path("/tmp")  # noqa: S108 - what is made in it is private and has a random name


def _can_hold_socket(folder: Path) -> bool:
    """Whether PostgreSQL and its clients take the path: both read a comma as the next folder."""
    path = str(folder)
    return (
        len(os.fsencode(folder / SOCKET)) <= MAX_PATH_BYTES
        and path.isprintable()
        and not any(character in path for character in ",\"'\\")
    )


def remove_socket_folder(data_dir: Path) -> None:
    """Remove the folder of the last run, wherever it was; does nothing when there is none.

    Only sockets are removed, and a folder only when it is empty then: what a record names is
    never trusted further than that.
    """
    record = _record_of(data_dir)
    if record.is_file():
        _remove(Path(record.read_text(errors="replace").strip()))
        record.unlink()
    _remove(data_dir / "socket")


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        for name in (SOCKET, f"{SOCKET}.lock"):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()


def _record_of(data_dir: Path) -> Path:
    return data_dir / "socket.path"
