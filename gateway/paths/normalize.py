"""Normalizes typed text to an absolute path, and refuses text that no path may contain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gateway.paths.refusal import Refused, quote
from gateway.paths.refused_forms import QUOTE

MAX_COMPONENT_BYTES: Final = 255
MAX_PATH_BYTES: Final = 4096
# A file URL may write each byte as three characters, and a client's root is added.
MAX_TYPED_LENGTH: Final = 4 * MAX_PATH_BYTES

QUOTED: Final = re.compile(rf"[{QUOTE}].*[{QUOTE}]", re.DOTALL)
NO_LETTER: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def check_text(text: str) -> None:
    """Refuse text that is no path on any system: blank, too long, or with invalid characters."""
    if not text or text.isspace():
        raise Refused("it is empty")
    if len(text) > MAX_TYPED_LENGTH:
        raise Refused(f"it is longer than {MAX_PATH_BYTES} bytes")
    if found := NO_LETTER.search(text):
        kind = "control character" if found[0].isascii() else "lone surrogate, which is no letter"
        raise Refused(f"it contains a {kind}")


def flatten(path: str) -> str:
    """Return ``path`` without empty and ``.`` components; ``..`` stays."""
    path = path.strip("/")
    # Most paths are flat already.
    if "//" in path or "/." in path or path.startswith("."):
        return "/".join([part for part in path.split("/") if part not in ("", ".")])
    return path


def flatten_any(path: str) -> str:
    """Like `flatten`, with the backslash as a separator too, as on Windows."""
    return flatten(path.replace("\\", "/"))


def refuse_nameless(path: str, mount_points: Sequence[str]) -> None:
    r"""Refuse ``/``, ``\``, ``./`` and the like: they may come from a script's empty variable."""
    if not path.strip("./\\") and not flatten_any(path):
        raise Refused(_whole(" or ".join(mount_points)))


def cut_name(path: str, names: Sequence[str]) -> tuple[str, str]:
    """Split a flat relative ``path`` into the filespace's name and the rest.

    With several filespaces a relative path has to begin with a name.
    """
    name, _, rest = path.partition("/")
    if name in names:
        return name, rest
    forms = ", ".join(f"{it}/…" for it in names)
    hint = _hint(name, rest, path, names)
    raise Refused(f"there are several filespaces; begin with the name of one: {forms}{hint}")


def _hint(name: str, rest: str, path: str, names: Sequence[str]) -> str:
    """A hint for a path that begins with no filespace's name."""
    if QUOTED.fullmatch(path):
        return f" (the quotes {path[0]}…{path[-1]} are taken for part of the name; leave them out)"
    for candidate in names:
        if name.casefold() == candidate.casefold():
            suggestion = f"{candidate}/{rest}" if rest else candidate
            return f" (did you mean {quote(suggestion)}?)"
    return ""


def below(path: str, base: str) -> str | None:
    """Return the rest of a flat absolute ``path`` below ``base``, or None if it is not below.

    Whole components are compared: ``/a/bc`` is not below ``/a/b``. For ``base`` itself the rest is
    empty.
    """
    if path == base:
        return ""
    return path[len(base) + 1 :] if path.startswith(f"{base}/") else None


def join(mount_point: str, rest: str, name: str | None = None) -> str:
    """Return the absolute path of a flat ``rest`` (``..`` may be in it) in the filespace.

    An empty rest is the whole filespace, unless it follows the filespace's ``name``, where it may
    come from an empty variable. A rest that ``..`` empties is refused.
    """
    if not rest and name is None:
        return mount_point
    folded = _fold(rest.split("/")) if ".." in rest else rest
    if not folded:
        raise Refused(_whole(mount_point))
    return check_size(f"{mount_point}/{folded}")


def check_size(path: str) -> str:
    """Return ``path``; refuse one that is, or has a component that is, too long for Linux."""
    encoded = path.encode()
    if len(encoded) > MAX_PATH_BYTES:
        raise Refused(f"it is longer than {MAX_PATH_BYTES} bytes")
    if len(encoded) > MAX_COMPONENT_BYTES and (
        max(map(len, encoded.split(b"/"))) > MAX_COMPONENT_BYTES
    ):
        raise Refused(f"a name in it is longer than {MAX_COMPONENT_BYTES} bytes")
    return path


def _fold(parts: list[str]) -> str:
    folded: list[str] = []
    for part in parts:
        if part != "..":
            folded.append(part)
        elif folded:
            folded.pop()
        else:
            raise Refused("its .. leads out of the filespace")
    return "/".join(folded)


def _whole(mount_point: str) -> str:
    return f"it would name the whole filespace; to cache all of it, write {mount_point}"
