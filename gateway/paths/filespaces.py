"""All filespaces of a gateway: which one holds a path, and which paths may be cached."""

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
    """The filespaces that jobs may read; create them with `single` or `listed`.

    ``allowed_prefixes`` are absolute, without a trailing slash; without prefixes everything is
    allowed. ``own_prefixes`` narrow them for one caller. ``client_roots`` is None for `single`:
    clients' paths are then read by the well-known roots (`gateway.paths.client_roots`).
    """

    filespaces: tuple[Filespace, ...]
    allowed_prefixes: tuple[str, ...] = ()
    own_prefixes: tuple[str, ...] = field(default=(), kw_only=True)
    client_roots: ListedRoots | None = None
    by_name: dict[str, Filespace] = field(init=False, repr=False, compare=False)
    _display_prefixes: dict[str, str] = field(init=False, repr=False, compare=False)
    _absolute: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {it.name: it for it in self.filespaces})
        display_prefixes = {f"{it.mount_point}/": self._name_prefix(it) for it in self.filespaces}
        object.__setattr__(self, "_display_prefixes", display_prefixes)
        # Only where a path can begin: after a blank, a quote or a bracket.
        pattern = re.compile(rf"(?<![^\s'\"(\[`])({'|'.join(map(re.escape, display_prefixes))})")
        object.__setattr__(self, "_absolute", pattern)

    def _name_prefix(self, filespace: Filespace) -> str:
        return "" if self.sole else f"{filespace.name}/"

    @classmethod
    def single(cls, mount_point: str, allowed_paths: Iterable[str] = ()) -> Self:
        """Create one filespace, with the well-known client roots.

        ``allowed_paths`` are relative to it or absolute under its mount point. Raises
        `SettingsError` naming the wrong one.
        """
        filespaces = (Filespace.at(mount_point),)
        return cls(filespaces, _read_allowed_paths(allowed_paths, filespaces))

    @classmethod
    def listed(cls, filespaces: Sequence[Filespace], allowed_paths: Iterable[str] = ()) -> Self:
        """Create filespaces with the client roots that they list, and no others.

        With several filespaces, ``allowed_paths`` begin with a filespace's name or mount point.
        Raises `SettingsError` naming the wrong path.
        """
        every = tuple(filespaces)
        return cls(every, _read_allowed_paths(allowed_paths, every), ListedRoots.create(every))

    @property
    def sole(self) -> Filespace | None:
        """The filespace that relative paths are in; None if there are several."""
        return self.filespaces[0] if len(self.filespaces) == 1 else None

    @property
    def names(self) -> tuple[str, ...]:
        """The filespaces' names."""
        return tuple(it.name for it in self.filespaces)

    def holding(self, path: str) -> Filespace | None:
        """The filespace that holds ``path`` (absolute, flat), or None."""
        return next((it for it in self.filespaces if below(path, it.mount_point) is not None), None)

    def relative(self, path: str) -> str:
        """``path`` (absolute) as a client can write it: relative to its filespace.

        With several filespaces it begins with the name. A path outside them is unchanged.
        """
        filespace = self.holding(path)
        if filespace is None:
            return path
        rest = path[len(filespace.mount_point) + 1 :]
        if self.sole:
            return rest or path
        return f"{filespace.name}/{rest}" if rest else path

    def relative_in(self, sentence: str) -> str:
        """``sentence`` with its absolute paths made relative, as by `relative`.

        A worker's messages contain the server's paths, which clients must not see.
        """
        return self._absolute.sub(lambda found: self._display_prefixes[found[1]], sentence)

    def allows(self, path: str) -> bool:
        """Whether ``path`` (absolute, resolved) may be cached."""
        return _is_within(self.allowed_prefixes, path) and _is_within(self.own_prefixes, path)

    def narrowed(self, prefixes: tuple[str, ...]) -> Self:
        """These filespaces for a caller limited to these folders; if empty, unchanged."""
        return replace(self, own_prefixes=prefixes) if prefixes else self

    def read_prefixes(self, written: Iterable[str]) -> tuple[str, ...]:
        """The absolute paths of folders that a caller may cache, each written like ALLOWED_PATHS.

        Raises `SettingsError` naming the wrong one.
        """
        return tuple(read_allowed_path(it, self.filespaces, "the key's paths") for it in written)


def _is_within(prefixes: tuple[str, ...], path: str) -> bool:
    return not prefixes or any(
        path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes
    )


def _read_allowed_paths(
    written: Iterable[str], filespaces: tuple[Filespace, ...]
) -> tuple[str, ...]:
    return tuple(read_allowed_path(path, filespaces) for path in written)
