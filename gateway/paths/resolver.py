"""The rules in their order: what was typed → its absolute path in a filespace."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.paths.client_roots import cut_root, is_filespace_name, read_absolute
from gateway.paths.filespace import Filespace
from gateway.paths.filespaces import Filespaces
from gateway.paths.normalize import (
    MAX_PATH_BYTES,
    below,
    check_size,
    check_text,
    cut_name,
    flatten,
    flatten_any,
    join,
    refuse_nameless,
)
from gateway.paths.quoting import unwrap
from gateway.paths.refusal import NOT_ALLOWED, Problem, Refused, to_error
from gateway.paths.refused_forms import INVISIBLE, QUOTE, refuse_form

# Paths to which no rule has anything to say. They are nearly all that is ever sent, and ten
# thousand of them come at once: one match costs less than asking every rule.
_UNCLEAN: Final = r"\x00-\x1f\x7f\ud800-\udfff/\\:"
_NAME: Final = rf"[^{_UNCLEAN}.][^{_UNCLEAN}]*+"
CLEAN: Final = re.compile(rf"(?![~\s\ufeff<{QUOTE}{INVISIBLE}]){_NAME}(?:/{_NAME})*+")
ROOTS_SHOWN: Final = 5


class Rule(StrEnum):
    """Which rule read a path."""

    MOUNT_POINT = "mount-point"
    """Absolute under a mount point: literal."""
    LISTED_ROOT = "listed-root"
    """Absolute under a client root of the settings."""
    KNOWN_ROOT = "known-root"
    """Absolute under a client root that is known everywhere; only while none are listed."""
    RELATIVE = "relative"
    """Relative to the only filespace."""
    FILESPACE_NAME = "filespace-name"
    """Relative, and beginning with the name of one of several filespaces."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a path means: ``path`` is absolute, in ``filespace``, by ``rule``."""

    path: str
    filespace: Filespace
    rule: Rule


def resolve(typed: str, filespaces: Filespaces) -> str:
    """Return the absolute path, without a trailing slash, of what a client typed.

    Raises `InvalidPath` if it is ambiguous, malformed or outside the filespaces, and
    `PathNotAllowed` if it lies outside the allowed prefixes. Both name the path and the reason.
    """
    return resolve_all((typed,), filespaces)[0]


def resolve_all(typed: Sequence[str], filespaces: Filespaces) -> list[str]:
    """Return what `resolve` does for each, in the same order, or tell of all that is wrong.

    Raises one `InvalidPath`, or `PathNotAllowed` if that is all that is wrong. Its message names
    the first path and the number of others, its details list each as ``{"path", "error"}``.
    """
    resolved: list[str] = []
    problems: list[Problem] = []
    for path in typed:
        answer = _answer(path, filespaces)
        if isinstance(answer, str):
            resolved.append(answer)
        else:
            problems.append(answer)
    if problems:
        raise to_error(problems)
    return resolved


def explain_all(typed: Sequence[str], filespaces: Filespaces) -> list[Place | Problem]:
    """Return for each, in the same order, what it means and by which rule, or why it is refused."""
    return [_explain(path, filespaces) for path in typed]


def place(typed: str, filespaces: Filespaces) -> Place:
    """Return what ``typed`` means by the rules alone; raises `Refused`."""
    check_text(typed)
    path = unwrap(typed)
    if path != typed:
        check_text(path)
    refuse_nameless(path, [it.mount_point for it in filespaces.filespaces])
    return _locate(path, filespaces)


def place_clean(typed: str, filespaces: Filespaces) -> str | None:
    """Return the path that `place` does, for a clean path relative or under the only mount.

    None for all others.
    """
    filespace, rest = filespaces.sole, typed
    if filespace is None:
        name, _, rest = typed.partition("/")
        if (filespace := filespaces.by_name.get(name)) is None:
            return None
    else:
        rest = typed.removeprefix(f"{filespace.mount_point}/")
    if len(rest) > MAX_PATH_BYTES or not CLEAN.fullmatch(rest):
        return None
    return check_size(f"{filespace.mount_point}/{rest}")


def _answer(typed: str, filespaces: Filespaces) -> str | Problem:
    try:
        path = place_clean(typed, filespaces) or place(typed, filespaces).path
    except Refused as refusal:
        return Problem(typed, refusal.reason)
    if filespaces.allows(path):
        return path
    return Problem(typed, NOT_ALLOWED, forbidden=True)


def _explain(typed: str, filespaces: Filespaces) -> Place | Problem:
    try:
        found = place(typed, filespaces)
    except Refused as refusal:
        return Problem(typed, refusal.reason)
    if filespaces.allows(found.path):
        return found
    return Problem(typed, NOT_ALLOWED, forbidden=True)


def _locate(path: str, filespaces: Filespaces) -> Place:
    if path.startswith("/") and (own := _under_mount(f"/{flatten(path)}", filespaces)):
        return own
    refuse_form(path)
    absolute = read_absolute(path)
    if absolute is None:
        return _relative(flatten_any(path), filespaces)
    return _client_path(absolute, filespaces)


def _under_mount(path: str, filespaces: Filespaces) -> Place | None:
    filespace = filespaces.holding(path)
    if filespace is None:
        return None
    rest = path[len(filespace.mount_point) + 1 :]
    return Place(join(filespace.mount_point, rest), filespace, Rule.MOUNT_POINT)


def _relative(path: str, filespaces: Filespaces) -> Place:
    if filespace := filespaces.sole:
        return Place(join(filespace.mount_point, path), filespace, Rule.RELATIVE)
    name, rest = cut_name(path, filespaces.names)
    filespace = filespaces.by_name[name]
    return Place(join(filespace.mount_point, rest, name), filespace, Rule.FILESPACE_NAME)


def _client_path(path: str, filespaces: Filespaces) -> Place:
    if filespaces.client_roots is not None:
        if found := filespaces.client_roots.find(path):
            filespace, rest = found
            return Place(join(filespace.mount_point, rest), filespace, Rule.LISTED_ROOT)
        _refuse_neighbour(path, filespaces)
        raise Refused(_why_unlisted(filespaces))
    _refuse_neighbour(path, filespaces)
    [filespace] = filespaces.filespaces
    below_root = cut_root(path)
    if below_root is None:
        raise Refused(_why_unknown(filespace))
    return Place(join(filespace.mount_point, below_root), filespace, Rule.KNOWN_ROOT)


def _refuse_neighbour(path: str, filespaces: Filespaces) -> None:
    """Refuse a folder beside a mount: it is the gateway's own, and no client's.

    While no client roots are listed, a folder that is no filespace itself may hold one, as a client
    sees it.
    """
    if not path.startswith("/"):
        return
    # Of two slashes in front nobody can tell whether they are a share or a slip.
    flat = f"/{path.lstrip('/')}"
    for filespace in filespaces.filespaces:
        rest = below(flat, filespace.parent) if filespace.parent else None
        if rest is None:
            continue
        beside, _, inside = rest.partition("/")
        may_hold = inside and beside != ".." and not is_filespace_name(beside)
        if not may_hold or filespaces.client_roots is not None:
            mounts = ", ".join(it.mount_point for it in filespaces.filespaces)
            raise Refused(f"it is outside the filespace, which is {mounts}")


def _why_unknown(filespace: Filespace) -> str:
    return (
        "it is not in the filespace as far as can be told; write it relative to the filespace"
        rf", under {filespace.mount_point}, or as a client sees it: /Volumes/…/tc-…/"
        r", X:\…\tc-…\, \\server\…\tc-…\ or /mnt/…/tc-…/"
    )


def _why_unlisted(filespaces: Filespaces) -> str:
    roots = filespaces.client_roots.shown if filespaces.client_roots else ()
    shown = ", ".join(roots[:ROOTS_SHOWN]) + (", …" if len(roots) > ROOTS_SHOWN else "")
    known = f" (known are {shown})" if roots else ""
    mounts = " or ".join(it.mount_point for it in filespaces.filespaces)
    begin = "relative to the filespace" if filespaces.sole else f"as {filespaces.names[0]}/…"
    return f"it is under no client root{known}; write it {begin}, or under {mounts}"
