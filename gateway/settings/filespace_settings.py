"""The setting ``filespaces``: one table for each filespace."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import permutations
from pathlib import PurePosixPath
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
)

from gateway.errors import SettingsError
from gateway.paths import Filespace
from gateway.paths.filespace import LISTED
from gateway.paths.listed_roots import ListedRoots

# The mount point used to validate only a name or client roots.
ANYWHERE: Final = "/any"


def normalize_mount_point(value: str) -> str:
    """Normalize a mount point. Raises ValueError if it is invalid."""
    path = PurePosixPath(value)
    if not path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise ValueError("must be an absolute path below /, without ..")
    # PurePosixPath keeps a double slash at the front: POSIX leaves its meaning open.
    return "/" + str(path).lstrip("/")


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Convert a `SettingsError` into a clause, which `describe` completes with the origin."""
    try:
        yield
    except SettingsError as error:
        raise ValueError(error.message.removeprefix(f"Wrong value for {LISTED}, ")) from None


MountPoint = Annotated[str, AfterValidator(normalize_mount_point)]


class FilespaceSettings(BaseModel):
    """One ``[[filespaces]]`` table."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(min_length=1, description="its name")
    mount_point: MountPoint = Field(description="where it is mounted for the gateway")
    client_roots: tuple[str, ...] = Field(
        (), description="the folders at which clients see it, as their machines write them"
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        with _as_value_error():
            Filespace.create(value, ANYWHERE)
        return value

    @field_validator("client_roots")
    @classmethod
    def _check_client_roots(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        with _as_value_error():
            Filespace.create("any", ANYWHERE, value)
        return value


def read_json(value: object) -> object:
    """Parse the JSON list in an environment variable or an option."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError(
            'must be a JSON list: [{"name": …, "mount_point": …, "client_roots": […]}]'
        ) from None


def check_apart(filespaces: Sequence[FilespaceSettings]) -> Sequence[FilespaceSettings]:
    """Refuse equal names, a mount point inside another, and a root that could never match."""
    for one, other in permutations(filespaces, 2):
        if one.name.casefold() == other.name.casefold():
            raise ValueError(f"two filespaces are called {one.name}")
        if one.mount_point == other.mount_point:
            both = f"{one.name} and {other.name}"
            raise ValueError(f"{both} are mounted at the same point, {one.mount_point}")
        if f"{one.mount_point}/".startswith(f"{other.mount_point}/"):
            raise ValueError(f"{one.name} is mounted in {other.name}, at {one.mount_point}")
    with _as_value_error():
        ListedRoots.create(
            Filespace.create(it.name, it.mount_point, it.client_roots) for it in filespaces
        )
    return filespaces


FilespaceList = Annotated[
    tuple[FilespaceSettings, ...], BeforeValidator(read_json), AfterValidator(check_apart)
]
