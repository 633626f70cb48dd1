"""The reference of the API: from the document that the gateway serves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from docs.markdown import code, table, words
from gateway.app import ROUTES
from gateway.openapi.document import describe
from gateway.openapi.headers import REFUSALS
from gateway.openapi.route import Route
from gateway.schemas.messages import FROM_CLIENT, FROM_GATEWAY
from gateway.schemas.responses import Refusal

Schema = Mapping[str, Any]
MESSAGES = {shape.__name__ for shape in (*FROM_CLIENT, *FROM_GATEWAY)}


def requests_table() -> str:
    """Every request on a line."""
    return table(
        ["Request", "What it does", "Key", "Scope"],
        [
            (
                f"[`{route.method} {route.template}`](#{_anchor(route)})",
                words(route.words[0]),
                "yes" if _wants_key(operation) else "no",
                code(route.scope) if route.scope else "",
            )
            for route, operation in _operations()
        ],
    )


def requests_reference() -> str:
    """Every request in full."""
    return "\n".join(_request(route, operation) for route, operation in _operations())


def errors_table() -> str:
    """What each error's status means."""
    return table(
        ["Status", "Meaning", "For example"],
        [(code(str(status)), words(it.text), words(it.example)) for status, it in REFUSALS.items()],
    )


def shapes_reference() -> str:
    """The shapes of bodies and answers, and of the parts of messages, by name."""
    schemas = describe(ROUTES)["components"]["schemas"]
    return "\n".join(
        _shape(name, schema) for name, schema in sorted(schemas.items()) if name not in MESSAGES
    )


def messages_reference(shapes: Iterable[Any]) -> str:
    """The messages of one side, in the order of the conversation."""
    schemas = describe(ROUTES)["components"]["schemas"]
    return "\n".join(_shape(it.__name__, schemas[it.__name__]) for it in shapes)


def _operations() -> Iterator[tuple[Route, Schema]]:
    paths = describe(ROUTES)["paths"]
    for route in ROUTES:
        if not route.is_page:
            yield route, paths[route.template][route.method.lower()]


def _wants_key(operation: Schema) -> bool:
    return bool(operation["security"]) and {} not in operation["security"]


def _anchor(route: Route) -> str:
    plain = "".join(it for it in route.template.lower() if it.isalnum() or it in "-_")
    return f"{route.method.lower()}-{plain}"


def _request(route: Route, operation: Schema) -> str:
    parts = [f"### {route.method} {route.template}\n", f"{operation['summary']}.\n"]
    if text := route.words[1]:
        parts.append(f"{text}\n")
    if operation["parameters"]:
        parts.append(_parameters(operation["parameters"]))
    if "requestBody" in operation:
        [body] = operation["requestBody"]["content"].values()
        parts.append(f"Body: {_type(body['schema'])}\n")
    answers = {
        status: response
        for status, response in operation["responses"].items()
        if not _is_refusal(response)
    }
    parts.append(
        table(
            ["Status", "Answer", "Meaning"],
            [
                (code(status), _answer(response), words(response["description"]))
                for status, response in answers.items()
            ],
        )
    )
    errors = [code(status) for status in operation["responses"] if status not in answers]
    parts.append(f"Errors: {', '.join(errors)}.\n")
    return "\n".join(parts)


def _is_refusal(response: Schema) -> bool:
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return _name(schema) == Refusal.__name__


def _parameters(parameters: Sequence[Schema]) -> str:
    return table(
        ["Parameter", "In", "Type", "Default", "What it is"],
        [
            (
                code(it["name"]),
                it["in"],
                _type(it["schema"]),
                code(str(it["schema"]["default"])) if "default" in it["schema"] else "",
                words(it.get("description", "")),
            )
            for it in parameters
        ],
    )


def _answer(response: Schema) -> str:
    content = response.get("content", {})
    kinds = [
        _type(it["schema"]) if media == "application/json" else code(media)
        for media, it in content.items()
    ]
    return ", ".join(kinds)


def _shape(name: str, schema: Schema) -> str:
    parts = [f"### {name}\n", f"{words(schema.get('description', ''))}\n"]
    if "properties" in schema:
        required = schema.get("required", [])
        parts.append(
            table(
                ["Field", "Type", "What it is"],
                [
                    (
                        code(field) if field in required else f"{code(field)} (may be left out)",
                        _type(it),
                        words(it.get("description", "")),
                    )
                    for field, it in _type_first(schema["properties"])
                ],
            )
        )
    else:
        parts.append(f"{_type(schema)}\n")
    return "\n".join(parts)


def _type_first(properties: Schema) -> Sequence[tuple[str, Schema]]:
    return sorted(properties.items(), key=lambda it: it[0] != "type")


def _name(schema: Schema) -> str | None:
    reference = schema.get("$ref")
    return reference.rpartition("/")[2] if isinstance(reference, str) else None


def _type(schema: Schema) -> str:
    """A type in words."""
    if name := _name(schema):
        return name if name in MESSAGES else f"[{name}](api.md#{name.lower()})"
    if "const" in schema:
        return code(_json(schema["const"]))
    if "enum" in schema:
        return ", ".join(code(_json(it)) for it in schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema and "properties" not in schema:
            return " or ".join(_type(it) for it in schema[several])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return f"{_plain(schema)}{_bounds(schema)}"


def _plain(schema: Schema) -> str:
    formats = {"date-time": "time", "uuid": "job id", "uri-reference": "URL"}
    kinds = {"integer": "whole number", "boolean": "true or false", "string": "text"}
    kind = schema.get("type", "anything")
    return formats.get(schema.get("format", "")) or kinds.get(kind, kind)


def _bounds(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f", {least:,} to {most:,}"
    return f", at least {least:,}" if least else ""


def _json(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
