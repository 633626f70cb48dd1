"""Shapes and models as JSON Schema, which OpenAPI 3.1 has as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from gateway.openapi.examples import make_examples

Schema = dict[str, Any]


class Untitled(GenerateJsonSchema):
    """Without a title a field: its name says it already."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def make_schemas(shapes: Iterable[Any]) -> tuple[Mapping[Any, Schema], dict[str, Schema]]:
    """How to refer to each shape, and the components that are referred to."""
    adapters = [(shape, "validation", TypeAdapter(shape)) for shape in dict.fromkeys(shapes)]
    references, definitions = TypeAdapter.json_schemas(
        adapters,  # type: ignore[arg-type]
        ref_template="#/components/schemas/{model}",
        schema_generator=Untitled,
    )
    components: dict[str, Schema] = definitions["$defs"]
    for name, example in make_examples().items():
        if name in components:
            components[name].setdefault("examples", [example])
    return {
        shape: references[shape, "validation"] for shape, _mode, _adapter in adapters
    }, components
