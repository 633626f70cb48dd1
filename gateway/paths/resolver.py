"""Applies the rules in their order: a typed path to its absolute path in a filespace."""

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
from gateway.paths.quoting import remove_quoting
from gateway.paths.refusal import NOT_ALLOWED, Problem, Refused, to_error
from gateway.paths.refused_forms import INVISIBLE, QUOTE, refuse_form

# Paths that no rule changes. Nearly all paths are such, and requests hold ten thousand of them: one
# match is cheaper than applying every rule.
_UNCLEAN: Final = r"\x00-\x1f\x7f\ud800-\udfff/\\:"
_NAME: Final = rf"[^{_UNCLEAN}.][^{_UNCLEAN}]*+"
CLEAN: Final = re.compile(rf"(?![~\s\ufeff<{QUOTE}{INVISIBLE}]){_NAME}(?:/{_NAME})*+")
MAX_LISTED_ROOTS: Final = 5


class Rule(StrEnum):
    """The rule that resolved a path."""

    MOUNT_POINT = "mount-point"
    """Absolute under a mount point: literal."""
    LISTED_ROOT = "listed-root"
    """Absolute under a client root of the settings."""
    KNOWN_ROOT = "known-root"
    """Absolute under a well-known client root; only if the settings list none."""
    RELATIVE = "relative"
    """Relative to the only filespace."""
    FILESPACE_NAME = "filespace-name"
    """Relative, and beginning with the name of one of several filespaces."""


@dataclass(frozen=True, slots=True)
class PathTarget:
    """The target of a typed path: ``path`` is absolute, in ``filespace``, by ``rule``."""

    path: str
    filespace: Filespace
    rule: Rule


def resolve(typed: str, filespaces: Filespaces) -> str:
    """Return the absolute path, without a trailing slash, of a typed path.

    Raises `InvalidPath` if it is ambiguous, malformed or outside the filespaces, and
    `PathNotAllowed` if it is outside the allowed prefixes. Both name the path and the reason.
    """
    return resolve_all((typed,), filespaces)[0]


def resolve_all(typed: Sequence[str], filespaces: Filespaces) -> list[str]:
    """Resolve all paths as `resolve` does, in the same order.

    Raises one error for all problems: `PathNotAllowed` if every one is that, else `InvalidPath`.
    Its message names the first path and the number of others; its details list each as
    ``{"path", "error"}``.
    """
    resolved: list[str] = []
    problems: list[Problem] = []
    for path in typed:
        result = _resolve(path, filespaces)
        if isinstance(result, str):
            resolved.append(result)
        else:
            problems.append(result)
    if problems:
        raise to_error(problems)
    return resolved


def explain_all(typed: Sequence[str], filespaces: Filespaces) -> list[PathTarget | Problem]:
    """Return each path resolved, with its rule, or its problem; in the same order."""
    return [_explain(path, filespaces) for path in typed]


def apply_rules(typed: str, filespaces: Filespaces) -> PathTarget:
    """Resolve ``typed`` by the rules alone; raises `Refused`."""
    check_text(typed)
    path = remove_quoting(typed)
    if path != typed:
        check_text(path)
    refuse_nameless(path, [it.mount_point for it in filespaces.filespaces])
    return _locate(path, filespaces)


def resolve_clean(typed: str, filespaces: Filespaces) -> str | None:
    """Resolve a clean path, relative or under the only mount point, as `apply_rules` does.

    Returns None for all other paths.
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


def _resolve(typed: str, filespaces: Filespaces) -> str | Problem:
    try:
        path = resolve_clean(typed, filespaces) or apply_rules(typed, filespaces).path
    except Refused as refusal:
        return Problem(typed, refusal.reason)
    if filespaces.allows(path):
        return path
    return Problem(typed, NOT_ALLOWED, forbidden=True)


def _explain(typed: str, filespaces: Filespaces) -> PathTarget | Problem:
    try:
        found = apply_rules(typed, filespaces)
    except Refused as refusal:
        return Problem(typed, refusal.reason)
    if filespaces.allows(found.path):
        return found
    return Problem(typed, NOT_ALLOWED, forbidden=True)


def _locate(path: str, filespaces: Filespaces) -> PathTarget:
    if path.startswith("/") and (resolved := _under_mount(f"/{flatten(path)}", filespaces)):
        return resolved
    refuse_form(path)
    absolute = read_absolute(path)
    if absolute is None:
        return _relative(flatten_any(path), filespaces)
    return _client_path(absolute, filespaces)


def _under_mount(path: str, filespaces: Filespaces) -> PathTarget | None:
    filespace = filespaces.holding(path)
    if filespace is None:
        return None
    rest = path[len(filespace.mount_point) + 1 :]
    return PathTarget(join(filespace.mount_point, rest), filespace, Rule.MOUNT_POINT)


def _relative(path: str, filespaces: Filespaces) -> PathTarget:
    if filespace := filespaces.sole:
        return PathTarget(join(filespace.mount_point, path), filespace, Rule.RELATIVE)
    name, rest = cut_name(path, filespaces.names)
    filespace = filespaces.by_name[name]
    return PathTarget(join(filespace.mount_point, rest, name), filespace, Rule.FILESPACE_NAME)


def _client_path(path: str, filespaces: Filespaces) -> PathTarget:
    if filespaces.client_roots is not None:
        if found := filespaces.client_roots.find(path):
            filespace, rest = found
            return PathTarget(join(filespace.mount_point, rest), filespace, Rule.LISTED_ROOT)
        _refuse_sibling(path, filespaces)
        raise Refused(_why_unlisted(filespaces))
    _refuse_sibling(path, filespaces)
    [filespace] = filespaces.filespaces
    below_root = cut_root(path)
    if below_root is None:
        raise Refused(_why_unknown(filespace))
    return PathTarget(join(filespace.mount_point, below_root), filespace, Rule.KNOWN_ROOT)


def _refuse_sibling(path: str, filespaces: Filespaces) -> None:
    """Refuse a sibling of a mount point: it is on the gateway's machine, not a client's.

    If no client roots are listed, a folder that is not a filespace itself may hold one on a
    client's machine.
    """
    if not path.startswith("/"):
        return
    # Two leading slashes may be a share or a typing error.
    flat = f"/{path.lstrip('/')}"
    for filespace in filespaces.filespaces:
        rest = below(flat, filespace.parent) if filespace.parent else None
        if rest is None:
            continue
        sibling, _, inside = rest.partition("/")
        may_hold = inside and sibling != ".." and not is_filespace_name(sibling)
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
    roots = filespaces.client_roots.roots if filespaces.client_roots else ()
    listed = ", ".join(roots[:MAX_LISTED_ROOTS]) + (", …" if len(roots) > MAX_LISTED_ROOTS else "")
    known = f" (known are {listed})" if roots else ""
    mounts = " or ".join(it.mount_point for it in filespaces.filespaces)
    begin = "relative to the filespace" if filespaces.sole else f"as {filespaces.names[0]}/…"
    return f"it is under no client root{known}; write it {begin}, or under {mounts}"
