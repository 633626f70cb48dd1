"""Reads ALLOWED_PATHS as absolute prefixes."""

from __future__ import annotations

from gateway.errors import SettingsError
from gateway.paths.client_roots import read_absolute
from gateway.paths.filespace import Filespace
from gateway.paths.normalize import (
    below,
    check_text,
    cut_name,
    flatten,
    flatten_any,
    join,
    refuse_nameless,
)
from gateway.paths.refusal import Refused, quote
from gateway.paths.refused_forms import refuse_form


def read_allowed_path(
    written: str, filespaces: tuple[Filespace, ...], origin: str = "ALLOWED_PATHS"
) -> str:
    """The absolute path of a folder that may be cached. Raises `SettingsError` naming it.

    ``origin`` says where it comes from, for the error. Only paths relative to the filespace or
    under a mount point are accepted: a server's settings hold no client's paths.
    """
    mounts = [it.mount_point for it in filespaces]
    try:
        check_text(written)
        refuse_nameless(written, mounts)
        return _locate(written, filespaces)
    except Refused as refusal:
        raise SettingsError(f"Wrong path in {origin}, {quote(written)}: {refusal.reason}") from None


def _locate(written: str, filespaces: tuple[Filespace, ...]) -> str:
    mounts = [it.mount_point for it in filespaces]
    if written.startswith("/"):
        for mount in mounts:
            rest = below(f"/{flatten(written)}", mount)
            if rest is not None:
                return join(mount, rest)
    refuse_form(written)
    if read_absolute(written):
        raise Refused(f"it must be relative to the filespace or under {' or '.join(mounts)}")
    rest = flatten_any(written)
    if len(filespaces) == 1:
        return join(mounts[0], rest)
    name, rest = cut_name(rest, [it.name for it in filespaces])
    return next(join(it.mount_point, rest, it.name) for it in filespaces if it.name == name)
