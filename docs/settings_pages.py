"""The reference of settings: from the one table of them, in the groups of config.toml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from docs.markdown import code, table
from gateway.settings import Settings

CONFIG = Path(__file__).parent.parent / "config.toml"
GROUP = re.compile(r"\n\n# (\w[\w ]*)\n(?=#?\n)")
NAME = re.compile(r"^(\w+) = ", re.MULTILINE)


def settings_reference() -> str:
    """A heading and a table for each group."""
    schemas = Settings.model_json_schema()["properties"]
    return "\n".join(f"## {title}\n\n{_table(names, schemas)}" for title, names in groups())


def groups() -> Iterator[tuple[str, Sequence[str]]]:
    """The headings of config.toml, with the names of their settings."""
    _preface, *parts = GROUP.split(CONFIG.read_text(encoding="utf-8"))
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        yield title, NAME.findall(body)


def _table(names: Sequence[str], schemas: dict[str, Any]) -> str:
    fields = Settings.model_fields
    return table(
        ["Variable", "Default", "Values", "What it is"],
        [
            (
                code(name.upper()),
                shown(fields[name].default),
                _values(schemas[name]),
                (fields[name].description or "").replace("|", "\\|"),
            )
            for name in names
        ],
    )


def shown(default: Any) -> str:
    """A default as an environment variable is written; nothing where it is empty."""
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if isinstance(default, bool):
        default = str(default).lower()
    text = ",".join(default) if isinstance(default, tuple) else str(default)
    return code(text) if text else ""


def _values(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    kind = schema["type"]
    return {"boolean": "`true`, `false`", "array": "list", "string": "text"}.get(kind) or (
        f"{'whole number' if kind == 'integer' else 'number'}{_bounds(schema)}"
    )


def _bounds(schema: dict[str, Any]) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    least = (
        f" above {above:,}" if above is not None else f" from {low:,}" if low is not None else ""
    )
    most = f" to {schema['maximum']:,}" if "maximum" in schema else ""
    return least + most
