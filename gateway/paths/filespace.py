"""A filespace: its name, its mount point, and the folders at which clients see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Self

from gateway.errors import SettingsError
from gateway.paths.client_roots import read_absolute
from gateway.paths.normalize import check_size, check_text, flatten
from gateway.paths.refusal import Refused, quote

ONE_MOUNT: Final = "CONTAINER_MOUNT_POINT"
LISTED: Final = "FILESPACES"


@dataclass(frozen=True, slots=True)
class Filespace:
    """One mounted filespace; `create` and `at` validate their arguments.

    ``mount_point`` is absolute, without a trailing slash. ``client_roots`` are the folders at which
    clients see the filespace, as `read_absolute` returns them.
    """

    name: str
    mount_point: str
    client_roots: tuple[str, ...] = ()

    @classmethod
    def create(cls, name: str, mount_point: str, client_roots: Iterable[str] = ()) -> Self:
        r"""Create the filespace that the settings describe.

        ``client_roots`` may have any form that names a folder: ``/Volumes/dmpfs/tc-east-1``,
        ``C:\dmpfs\tc-east-1``, ``L:``, ``\\server\share``. Raises `SettingsError` naming the
        wrong value.
        """
        roots = tuple(_read(_absolute_folder, root) for root in client_roots)
        return cls(_read(_one_component, name), read_mount_point(mount_point, LISTED), roots)

    @classmethod
    def at(cls, mount_point: str) -> Self:
        """Create the filespace mounted at ``mount_point``, named after that folder.

        It has no client roots. Raises `SettingsError`.
        """
        mount = read_mount_point(mount_point, ONE_MOUNT)
        return cls(mount.rpartition("/")[2], mount)

    @property
    def parent(self) -> str:
        """The folder that holds the mount point; empty for the root directory."""
        return self.mount_point.rpartition("/")[0]


def read_mount_point(written: str, setting: str) -> str:
    """A mount point in its flat form. Raises `SettingsError` naming ``setting``."""
    return _read(_flat_mount_point, written, setting)


def _read(reading: Callable[[str], str], written: str, setting: str = LISTED) -> str:
    try:
        check_text(written)
        return check_size(reading(written))
    except Refused as refusal:
        raise SettingsError(
            f"Wrong value for {setting}, {quote(written)}: {refusal.reason}"
        ) from None


def _flat_mount_point(written: str) -> str:
    flat = flatten(written)
    if not written.startswith("/") or not flat or ".." in flat.split("/"):
        raise Refused("it must be an absolute path below /, without ..")
    return f"/{flat}"


def _one_component(written: str) -> str:
    if "/" in written or "\\" in written or written in (".", ".."):
        raise Refused("a filespace's name is one name, without a slash")
    return written


def _absolute_folder(written: str) -> str:
    # "L:" is short for a drive that is the filespace.
    root = read_absolute(f"{written}/" if written.endswith(":") else written)
    if root is None or not root.strip("/") or ".." in root.split("/"):
        raise Refused("a client root must be an absolute folder, like /Volumes/x or L:")
    return root.rstrip("/")
