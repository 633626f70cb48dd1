"""All filespaces of a gateway: which one holds a path, and what of them may be cached."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from gateway.paths.allowed_paths import read_allowed_path
from gateway.paths.filespace import Filespace
from gateway.paths.listed_roots import ListedRoots
from gateway.paths.normalize import below


@dataclass(frozen=True, slots=True)
class Filespaces:
    """The filespaces that jobs may read; make them with `single` or `listed`.

    ``allowed_prefixes`` are absolute, without a trailing slash; no prefixes at all allow
    everything. ``own_prefixes`` narrow them for one caller. ``client_roots`` is None unless the
    filespaces were listed: clients' paths are then read by the roots that are known everywhere
    (`gateway.paths.client_roots`).
    """

    filespaces: tuple[Filespace, ...]
    allowed_prefixes: tuple[str, ...] = ()
    own_prefixes: tuple[str, ...] = field(default=(), kw_only=True)
    client_roots: ListedRoots | None = None
    by_name: dict[str, Filespace] = field(init=False, repr=False, compare=False)
    _shown: dict[str, str] = field(init=False, repr=False, compare=False)
    _absolute: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {it.name: it for it in self.filespaces})
        shown = {f"{it.mount_point}/": self._name_in_front(it) for it in self.filespaces}
        object.__setattr__(self, "_shown", shown)
        # Only where a path can begin: behind a blank, a quote or the like.
        pattern = re.compile(rf"(?<![^\s'\"(\[`])({'|'.join(map(re.escape, shown))})")
        object.__setattr__(self, "_absolute", pattern)

    def _name_in_front(self, filespace: Filespace) -> str:
        return "" if self.sole else f"{filespace.name}/"

    @classmethod
    def single(cls, mount_point: str, allowed_paths: Iterable[str] = ()) -> Self:
        """One filespace, with the roots that are known everywhere.

        ``allowed_paths`` are relative to it or absolute under its mount point. Raises
        `SettingsError` naming the one that is wrong.
        """
        filespaces = (Filespace.at(mount_point),)
        return cls(filespaces, _read_allowed_paths(allowed_paths, filespaces))

    @classmethod
    def listed(cls, filespaces: Sequence[Filespace], allowed_paths: Iterable[str] = ()) -> Self:
        """Filespaces with the roots that they list, and no others.

        Of several the ``allowed_paths`` begin with a filespace's name or its mount point. Raises
        `SettingsError` naming the path that is wrong.
        """
        every = tuple(filespaces)
        return cls(every, _read_allowed_paths(allowed_paths, every), ListedRoots.create(every))

    @property
    def sole(self) -> Filespace | None:
        """The filespace that relative paths are in; None if there are several."""
        return self.filespaces[0] if len(self.filespaces) == 1 else None

    @property
    def names(self) -> tuple[str, ...]:
        """What the filespaces are called."""
        return tuple(it.name for it in self.filespaces)

    def holding(self, path: str) -> Filespace | None:
        """The filespace that ``path`` (absolute, flat) lies in, if there is one."""
        return next((it for it in self.filespaces if below(path, it.mount_point) is not None), None)

    def relative(self, path: str) -> str:
        """``path`` (absolute) as a client can write it: relative to its filespace.

        Of several filespaces the name comes first. A path outside stays as it is.
        """
        filespace = self.holding(path)
        if filespace is None:
            return path
        rest = path[len(filespace.mount_point) + 1 :]
        if self.sole:
            return rest or path
        return f"{filespace.name}/{rest}" if rest else path

    def relative_in(self, sentence: str) -> str:
        """``sentence`` with the paths of files in it as `relative` writes them.

        A worker's words name files as the server sees them, which is nobody else's business.
        """
        return self._absolute.sub(lambda found: self._shown[found[1]], sentence)

    def allows(self, path: str) -> bool:
        """Whether ``path`` (absolute, resolved) may be cached."""
        return _holds(self.allowed_prefixes, path) and _holds(self.own_prefixes, path)

    def narrowed(self, prefixes: tuple[str, ...]) -> Self:
        """The same for a caller who may cache only what lies in these folders; none: no change."""
        return replace(self, own_prefixes=prefixes) if prefixes else self

    def read_prefixes(self, written: Iterable[str]) -> tuple[str, ...]:
        """The absolute paths of folders that a caller may cache, each written like ALLOWED_PATHS.

        Raises `SettingsError` naming the one that is wrong.
        """
        return tuple(read_allowed_path(it, self.filespaces, "the key's paths") for it in written)


def _holds(prefixes: tuple[str, ...], path: str) -> bool:
    return not prefixes or any(
        path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes
    )


def _read_allowed_paths(
    written: Iterable[str], filespaces: tuple[Filespace, ...]
) -> tuple[str, ...]:
    return tuple(read_allowed_path(path, filespaces) for path in written)
