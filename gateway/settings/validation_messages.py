"""Describes wrong settings in terms of the settings, not of pydantic."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from typing import Final

from pydantic import ValidationError

from gateway.settings.filespace_settings import FilespaceSettings

# Plain texts for pydantic's error types; its other messages are clear enough.
PLAIN_WORDS: Final = {
    "tuple_type": "must be a list",
    "model_type": "must be a table with a name and a mount_point",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "missing": "is missing",
}


def describe(error: ValidationError, origins: Mapping[str, str], settings: Collection[str]) -> str:
    """One line for each wrong setting; ``origins`` say where each was read."""
    return "\n".join(
        _describe_one(item["loc"], item["type"], item["msg"], origins, settings)
        for item in error.errors(include_input=False, include_url=False)
    )


def describe_toml(error: tomllib.TOMLDecodeError) -> str:
    """A clause that says why a file is not valid TOML."""
    if "immutable namespace ('filespaces',)" in str(error):
        return "not valid: beside [[filespaces]] tables, take the line filespaces = [] out"
    return f"not valid TOML: {error}"


def _describe_one(
    location: tuple[int | str, ...],
    kind: str,
    reason: str,
    origins: Mapping[str, str],
    settings: Collection[str],
) -> str:
    name, inside = str(location[0]), location[1:]
    origin = origins.get(name, "in the arguments")
    displayed_name = {
        "in the environment": name.upper(),
        "on the command line": "--" + name.replace("_", "-"),
    }.get(origin, name)
    if kind == "extra_forbidden":
        if not inside:
            return f"Unknown setting {displayed_name} {origin}{_near(name, settings)}"
        inside, reason = inside[:-1], _unknown_field(str(inside[-1]), settings)
    else:
        reason = PLAIN_WORDS.get(kind, reason)
        if kind == "tuple_type" and name == "filespaces" and not inside:
            reason = "must be a list of tables"
    reason = reason.removeprefix("Value error, ").removeprefix("Input ")
    # Lists are counted from 1 for people.
    where = "".join(f"{it + 1}: " if isinstance(it, int) else f"{it}: " for it in inside)
    return f"Wrong value for {displayed_name} {origin}: {where}{reason}"


def _unknown_field(field: str, settings: Collection[str]) -> str:
    if field in settings:
        return (
            f"{field} is no field of a filespace but a setting,"
            " and [[filespaces]] tables stand at the end of the file"
        )
    fields = FilespaceSettings.model_fields
    near = _near(field, fields, 0.5) or f" (known are {', '.join(fields)})"
    return f"unknown field {field}{near}"


def _near(name: str, names: Collection[str], cutoff: float = 0.7) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    return f", did you mean {near[0]}?" if near else ""
