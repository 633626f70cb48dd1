"""How the settings list filespaces: one table each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import permutations
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def normalize_mount_point(value: str) -> str:
    """A mount point without what means nothing; ValueError for one that cannot be."""
    path = PurePosixPath(value)
    if not path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise ValueError("must be an absolute path below /, without ..")
    # PurePosixPath keeps a double slash at the front: POSIX leaves its meaning open.
    return "/" + str(path).lstrip("/")


MountPoint = Annotated[str, AfterValidator(normalize_mount_point)]


class FilespaceSettings(BaseModel):
    """One ``[[filespaces]]`` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(min_length=1, description="what it is called")
    mount_point: MountPoint = Field(description="where it is mounted for the gateway")
    client_roots: tuple[str, ...] = Field(
        (), description="the folders at which clients see it, as their machines write them"
    )


def read_json(value: object) -> object:
    """The list that an environment variable or an option holds, as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError(
            'must be a JSON list: [{"name": …, "mount_point": …, "client_roots": […]}]'
        ) from None


def check_apart(filespaces: Sequence[FilespaceSettings]) -> Sequence[FilespaceSettings]:
    """Refuse two of one name, and one mounted in another: a path would be in both."""
    for one, other in permutations(filespaces, 2):
        if one.name.casefold() == other.name.casefold():
            raise ValueError(f"two filespaces are called {one.name}")
        if f"{one.mount_point}/".startswith(f"{other.mount_point}/"):
            raise ValueError(f"{one.name} is mounted in {other.name}, at {one.mount_point}")
    return filespaces


FilespaceList = Annotated[
    tuple[FilespaceSettings, ...], BeforeValidator(read_json), AfterValidator(check_apart)
]
