r"""The client roots that the settings list: where each filespace appears on whose machine.

The longest root that fits wins, and whole components are compared. Windows and macOS do not tell
capitals from small letters, so neither do their roots here; a Mac's decomposed letters are the same
as composed ones everywhere. A drive's root is its WSL form too: ``L:`` is ``/mnt/l``.
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
# Roots of systems whose filesystems keep capitals but do not tell them apart.
ANY_CASE: Final = re.compile(r"[A-Za-z]:|//|/(?:Volumes|Users)(?:/|$)|/mnt/[a-z](?:/|$)", re.I)


@dataclass(frozen=True, slots=True)
class ListedRoots:
    """Which filespaces each root belongs to, by `_fold` of the root."""

    owners: Mapping[str, tuple[Filespace, ...]]
    shown: tuple[str, ...]

    @classmethod
    def create(cls, filespaces: Iterable[Filespace]) -> Self:
        """The roots of all ``filespaces``.

        Raises `SettingsError` for a root inside a mount point: it could never be asked for.
        """
        every = tuple(filespaces)
        _refuse_hidden(every)
        owners: dict[str, tuple[Filespace, ...]] = {}
        for filespace in every:
            for root in filespace.client_roots:
                _add(owners, root, filespace)
        # A drive's WSL form is ours to derive only where nobody lists that folder.
        for filespace in every:
            for wsl in map(_wsl_form, filespace.client_roots):
                if wsl and not any(
                    _fold(wsl) == _fold(root) for it in every for root in it.client_roots
                ):
                    _add(owners, wsl, filespace)
        shown = tuple(dict.fromkeys(root for it in every for root in it.client_roots))
        return cls(owners, shown)

    def find(self, path: str) -> tuple[Filespace, str] | None:
        """The filespace of ``path`` (as `read_absolute` returns it) and the rest below its root.

        None if no root fits; raises `Refused` if the longest that fits belongs to several.
        """
        head, rest = path, ""
        folded = _fold(path)
        while folded:
            if claims := self.owners.get(folded):
                return _decide(claims, rest), rest
            head, slash, name = head.rpartition("/")
            folded = folded.rpartition("/")[0]
            rest = f"{name}/{rest}" if rest else name
            if not slash:
                return None
        return None


def _decide(claims: tuple[Filespace, ...], rest: str) -> Filespace:
    if len(claims) == 1:
        return claims[0]
    forms = " or ".join(f"{it.name}/{rest}" if rest else it.mount_point for it in claims)
    raise Refused(f"{len(claims)} filespaces claim it; write {forms}")


def _add(owners: dict[str, tuple[Filespace, ...]], root: str, filespace: Filespace) -> None:
    held = owners.get(_fold(root), ())
    if filespace not in held:
        owners[_fold(root)] = (*held, filespace)


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
