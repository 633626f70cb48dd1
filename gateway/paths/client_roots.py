r"""The usual folders in which workstations mount a filespace, and how paths in them are read.

Only the component right after a known root can be a filespace's name, and only if it looks like
one. If several roots leave such a component, the longest wins::

    /mnt/lucidlink/tc-east-1/00_Media/v.mp4   /mnt/<any> leaves tc-east-1   → 00_Media/v.mp4
    /mnt/lucidlink-1/00_Media/v.mp4           /mnt leaves lucidlink-1       → 00_Media/v.mp4
    C:\dmpfs\tc-east-1\tc-notes\a.txt         X:\<any> leaves tc-east-1     → tc-notes/a.txt
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gateway.paths.normalize import flatten, flatten_any


@dataclass(frozen=True, slots=True)
class ClientRoot:
    """A folder in which a client's filespaces are mounted, as `read_absolute` returns it.

    ``<any>`` stands for any one component, ``<letter>`` for a component of one letter.
    """

    system: str
    folder: str


CLIENT_ROOTS: Final = (
    ClientRoot("macOS", "/Volumes"),
    ClientRoot("macOS", "/Volumes/<any>"),
    ClientRoot("macOS", "/Users/<any>"),
    ClientRoot("Windows", "<letter>:"),
    ClientRoot("Windows", "<letter>:/<any>"),
    ClientRoot("Windows share", "//<any>"),
    ClientRoot("Windows share", "//<any>/<any>"),
    ClientRoot("Linux", "/mnt"),
    ClientRoot("Linux", "/mnt/<any>"),
    ClientRoot("Linux", "/media"),
    ClientRoot("Linux", "/media/<any>"),
    ClientRoot("Linux", "/home/<any>"),
    ClientRoot("WSL", "/mnt/<letter>/<any>"),
)

PLACEHOLDERS: Final = {"<any>": r"(?!\.\./)[^/]+", "<letter>": "[A-Za-z]"}
FILESPACE_NAME: Final = r"(?i:tc-[^/]+|lucidlink[^/]*)"
# The name of a filespace and, as often, of the folder that holds all filespaces.
HOLDER: Final = "lucidlink"

SHARE: Final = re.compile(r"\\\\|//(?!/)")
DRIVE: Final = re.compile(r"[A-Za-z]:(?=[\\/])")


def read_absolute(path: str) -> str | None:
    r"""Return an absolute ``path`` of any system, flat and with slashes; None if it is relative.

    A drive becomes ``L:/…``, a share ``//server/…``. In other paths ``\`` is part of a name.
    """
    if SHARE.match(path):
        return f"//{flatten_any(path)}"
    if DRIVE.match(path):
        return f"{path[0].upper()}:/{flatten_any(path[2:])}"
    return f"/{flatten(path)}" if path.startswith("/") else None


def cut_root(path: str) -> str | None:
    """Return what follows the filespace's name in ``path``, or None if no root matches.

    ``path`` is as `read_absolute` returns it. The rest is flat; "" for the filespace itself.
    """
    match = ROOT_AND_NAME.match(path)
    return path[match.end() :] if match else None


def is_filespace_name(name: str) -> bool:
    """Whether ``name`` looks like a filespace's, and not like that of a folder of filespaces."""
    return name.lower() != HOLDER and re.fullmatch(FILESPACE_NAME, name) is not None


def _compile(roots: tuple[ClientRoot, ...]) -> re.Pattern[str]:
    folders = sorted((root.folder for root in roots), key=lambda folder: -folder.count("/"))
    patterns = "|".join(map(_to_pattern, folders))
    return re.compile(rf"(?:{patterns})/{FILESPACE_NAME}(?:/|$)", re.ASCII)


def _to_pattern(folder: str) -> str:
    """A folder's pattern; case-insensitive for macOS."""
    pattern = "/".join(map(_to_part, folder.split("/")))
    return f"(?i:{pattern})" if folder.startswith(("/Volumes", "/Users")) else pattern


def _to_part(part: str) -> str:
    if part == "<letter>:":
        return "[A-Za-z]:"
    return PLACEHOLDERS.get(part) or re.escape(part)


# An alternation takes the first match, so the longest come first.
ROOT_AND_NAME: Final = _compile(CLIENT_ROOTS)
