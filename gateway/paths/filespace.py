"""The filespace as the gateway sees it: where it is mounted, and what of it may be cached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from gateway.errors import SettingsError
from gateway.paths.client_roots import read_absolute
from gateway.paths.normalize import (
    below,
    check_size,
    check_text,
    flatten,
    flatten_any,
    join,
    refuse_nameless,
)
from gateway.paths.refusal import Refused, quote
from gateway.paths.refused_forms import refuse_form


@dataclass(frozen=True, slots=True)
class Filespace:
    """One mounted filespace; make it with `create`, which checks and resolves what it is given.

    ``mount_point`` and ``allowed_prefixes`` are absolute, without a trailing slash. No prefixes
    at all allow the whole filespace.
    """

    mount_point: str
    allowed_prefixes: tuple[str, ...] = ()

    @classmethod
    def create(cls, mount_point: str, allowed_paths: Iterable[str] = ()) -> Self:
        """Return the filespace that the settings describe.

        ``allowed_paths`` are relative to the filespace or absolute under ``mount_point``. Raises
        `SettingsError` naming the one that is wrong.
        """
        mount = _read_mount_point(mount_point)
        return cls(mount, tuple(_read_allowed_path(path, mount) for path in allowed_paths))

    @property
    def parent(self) -> str:
        """The folder that holds the mount point; empty if that is the root of all."""
        return self.mount_point.rpartition("/")[0]

    def relative(self, path: str) -> str:
        """``path`` (absolute) as it is named inside the filespace; one outside stays as it is."""
        return path.removeprefix(f"{self.mount_point}/")

    def allows(self, path: str) -> bool:
        """Whether ``path`` (absolute, resolved) may be cached."""
        return not self.allowed_prefixes or any(
            path == prefix or path.startswith(f"{prefix}/") for prefix in self.allowed_prefixes
        )


def _read_mount_point(written: str) -> str:
    try:
        check_text(written)
        _refuse_bad_mount_point(written)
        return check_size(f"/{flatten(written)}")
    except Refused as refusal:
        raise SettingsError(
            f"Wrong value for CONTAINER_MOUNT_POINT, {quote(written)}: {refusal.reason}"
        ) from None


def _refuse_bad_mount_point(written: str) -> None:
    flat = flatten(written)
    if not written.startswith("/") or not flat or ".." in flat.split("/"):
        raise Refused("it must be an absolute path below /, without ..")


def _read_allowed_path(written: str, mount_point: str) -> str:
    try:
        check_text(written)
        refuse_nameless(written, mount_point)
        return join(mount_point, _locate_allowed_path(written, mount_point))
    except Refused as refusal:
        raise SettingsError(
            f"Wrong path in ALLOWED_PATHS, {quote(written)}: {refusal.reason}"
        ) from None


def _locate_allowed_path(written: str, mount_point: str) -> str:
    if written.startswith("/"):
        own = below(f"/{flatten(written)}", mount_point)
        if own is not None:
            return own
    refuse_form(written)
    if read_absolute(written):
        raise Refused(f"it must be relative to the filespace or under {mount_point}")
    return flatten_any(written)
