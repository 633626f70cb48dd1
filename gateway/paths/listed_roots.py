r"""The client roots that the settings list: the folders at which clients see each filespace.

The longest matching root wins, by whole components. Roots of Windows and macOS ignore case, as
these systems do; decomposed and composed letters are equal in all roots. A drive's root also
matches in its WSL form: ``L:`` is ``/mnt/l``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self
from unicodedata import normalize

from gateway.errors import SettingsError
from gateway.paths.filespace import LISTED, Filespace
from gateway.paths.normalize import below
from gateway.paths.refusal import Refused, quote

DRIVE_ROOT: Final = re.compile(r"([A-Z]):(?=/|$)")
# Roots of systems with case-insensitive file systems.
ANY_CASE: Final = re.compile(r"[A-Za-z]:|//|/(?:Volumes|Users)(?:/|$)|/mnt/[a-z](?:/|$)", re.I)


@dataclass(frozen=True, slots=True)
class ListedRoots:
    """The filespaces of each root, by `_fold` of the root; ``roots`` as written."""

    owners: Mapping[str, tuple[Filespace, ...]]
    roots: tuple[str, ...]

    @classmethod
    def create(cls, filespaces: Iterable[Filespace]) -> Self:
        """Create the roots of all ``filespaces``.

        Raises `SettingsError` for a root inside a mount point: it could never match.
        """
        listed = tuple(filespaces)
        _refuse_hidden(listed)
        owners: dict[str, tuple[Filespace, ...]] = {}
        for filespace in listed:
            for root in filespace.client_roots:
                _add(owners, root, filespace)
        # A drive's WSL form is added only if no filespace lists that folder.
        for filespace in listed:
            for wsl in map(_wsl_form, filespace.client_roots):
                if wsl and not any(
                    _fold(wsl) == _fold(root) for it in listed for root in it.client_roots
                ):
                    _add(owners, wsl, filespace)
        roots = tuple(dict.fromkeys(root for it in listed for root in it.client_roots))
        return cls(owners, roots)

    def find(self, path: str) -> tuple[Filespace, str] | None:
        """The filespace of ``path`` (as `read_absolute` returns it) and the rest below its root.

        None if no root matches; raises `Refused` if several filespaces have the longest one.
        """
        head, rest = path, ""
        folded = _fold(path)
        while folded:
            if matches := self.owners.get(folded):
                return _decide(matches, rest), rest
            head, slash, name = head.rpartition("/")
            folded = folded.rpartition("/")[0]
            rest = f"{name}/{rest}" if rest else name
            if not slash:
                return None
        return None


def _decide(matches: tuple[Filespace, ...], rest: str) -> Filespace:
    if len(matches) == 1:
        return matches[0]
    forms = " or ".join(f"{it.name}/{rest}" if rest else it.mount_point for it in matches)
    raise Refused(f"{len(matches)} filespaces claim it; write {forms}")


def _add(owners: dict[str, tuple[Filespace, ...]], root: str, filespace: Filespace) -> None:
    present = owners.get(_fold(root), ())
    if filespace not in present:
        owners[_fold(root)] = (*present, filespace)


def _refuse_hidden(filespaces: tuple[Filespace, ...]) -> None:
    for owner in filespaces:
        for root in owner.client_roots:
            for other in filespaces:
                if below(root, other.mount_point) is not None:
                    raise SettingsError(
                        f"Wrong value for {LISTED}, {quote(root)}: a client root cannot lie under "
                        f"a mount point, {other.mount_point}, whose paths are literal"
                    )


def _fold(path: str) -> str:
    composed = normalize("NFC", path)
    return composed.casefold() if ANY_CASE.match(path) else composed


def _wsl_form(root: str) -> str | None:
    drive = DRIVE_ROOT.match(root)
    return f"/mnt/{drive[1].lower()}{root[drive.end() :]}" if drive else None
