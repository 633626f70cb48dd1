"""The rules in their order: what was typed → its absolute path in the filespace."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gateway.paths.client_roots import cut_root, read_absolute
from gateway.paths.filespace import Filespace
from gateway.paths.normalize import (
    MAX_PATH_BYTES,
    below,
    check_size,
    check_text,
    flatten,
    flatten_any,
    join,
    refuse_nameless,
)
from gateway.paths.refusal import NOT_ALLOWED, Problem, Refused, to_error
from gateway.paths.refused_forms import refuse_form
from gateway.paths.wrappings import unwrap

# Paths to which no rule has anything to say. They are nearly all that is ever sent, and ten
# thousand of them come at once: one match costs less than asking every rule.
_UNCLEAN: Final = r"\x00-\x1f\x7f\ud800-\udfff/\\:"
_NAME: Final = rf"[^{_UNCLEAN}.][^{_UNCLEAN}]*+"
CLEAN: Final = re.compile(rf"(?![~\"'\s\ufeff]){_NAME}(?:/{_NAME})*+")


def resolve(typed: str, filespace: Filespace) -> str:
    """Return the absolute path, without a trailing slash, of what a client typed.

    Raises `InvalidPath` if it is ambiguous, malformed or outside the filespace, and
    `PathNotAllowed` if it lies outside the allowed prefixes. Both name the path and the reason.
    """
    return resolve_all((typed,), filespace)[0]


def resolve_all(typed: Sequence[str], filespace: Filespace) -> list[str]:
    """Return what `resolve` does for each, in the same order, or tell of all that is wrong.

    Raises one `InvalidPath`, or `PathNotAllowed` if that is all that is wrong. Its message names
    the first path and the number of others, its details list each as ``{"path", "error"}``.
    """
    resolved: list[str] = []
    problems: list[Problem] = []
    for path in typed:
        answer = _answer(path, filespace)
        if isinstance(answer, str):
            resolved.append(answer)
        else:
            problems.append(answer)
    if problems:
        raise to_error(problems)
    return resolved


def place(typed: str, filespace: Filespace) -> str:
    """Return the absolute path of ``typed`` by the rules alone; raises `Refused`."""
    check_text(typed)
    path = unwrap(typed)
    if path != typed:
        check_text(path)
    refuse_nameless(path, filespace.mount_point)
    return join(filespace.mount_point, _locate(path, filespace))


def place_clean(typed: str, mount_point: str) -> str | None:
    """Return what `place` does, for a clean path relative or under the mount; None for others."""
    own = f"{mount_point}/"
    rest = typed.removeprefix(own)
    if len(rest) > MAX_PATH_BYTES or not CLEAN.fullmatch(rest):
        return None
    return check_size(own + rest)


def _answer(typed: str, filespace: Filespace) -> str | Problem:
    try:
        path = place_clean(typed, filespace.mount_point) or place(typed, filespace)
    except Refused as refusal:
        return Problem(typed, refusal.reason)
    if filespace.allows(path):
        return path
    return Problem(typed, NOT_ALLOWED, forbidden=True)


def _locate(path: str, filespace: Filespace) -> str:
    if path.startswith("/"):
        own = _cut_mount_point(f"/{flatten(path)}", filespace)
        if own is not None:
            return own
    refuse_form(path)
    absolute = read_absolute(path)
    if absolute is None:
        return flatten_any(path)
    return _require(cut_root(absolute), filespace)


def _cut_mount_point(path: str, filespace: Filespace) -> str | None:
    own = below(path, filespace.mount_point)
    if own is None and filespace.parent and below(path, filespace.parent) is not None:
        raise Refused(f"it is outside the filespace, which is {filespace.mount_point}")
    return own


def _require(rest: str | None, filespace: Filespace) -> str:
    if rest is None:
        raise Refused(
            "it is not in the filespace as far as can be told; write it relative to the filespace"
            rf", under {filespace.mount_point}, or as a client sees it: /Volumes/…/tc-…/"
            r", X:\…\tc-…\, \\server\…\tc-…\ or /mnt/…/tc-…/"
        )
    return rest
