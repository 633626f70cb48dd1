"""Whatever our applications answer while the tests run is what their description says.

Each application that `create_app` makes here looks at its own answers; the test during which one
differs from the description fails. Shapes are closed for that: a field that no shape names is an
error here, though a client must bear it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema_rs
import orjson
import pytest
from aiohttp import web

from gateway import app as gateway_app
from gateway.openapi.document import describe
from gateway.openapi.route import Route

# Of what belongs to no route: aiohttp's own refusals in our shape.
NO_ROUTE = frozenset({404, 405, 417, 500})
Complaints = list[str]


@cache
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(orjson.dumps(describe(gateway_app.ROUTES)))
    return found


def close(schema: Any) -> Any:
    """The schema without room for what it does not name."""
    if isinstance(schema, list):
        return [close(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: close(part) for name, part in schema.items()}
    return {"additionalProperties": False, **closed} if schema.get("type") == "object" else closed


@cache
def closed_components() -> dict[str, Any]:
    return {"schemas": close(document()["components"]["schemas"])}


@cache
def validator_of(reference: str) -> Any:
    schema = {"$ref": reference, "components": closed_components()}
    return jsonschema_rs.validator_for(schema, validate_formats=True)


def problems_of(reference: str, value: Any) -> Iterator[str]:
    """What is wrong with a value by the shape with this reference."""
    for error in validator_of(reference).iter_errors(value):
        yield f"{reference}: {error.message} at {list(error.instance_path)}"


def check_answer(request: web.Request, response: web.StreamResponse) -> Iterator[str]:
    """How an answer differs from what the description says of it."""
    routes: Mapping[Callable[..., Any], Route] = {
        route.handler: route for route in gateway_app.ROUTES
    }
    route = routes.get(request.match_info.handler)
    if route is None:
        yield from check_unmatched(request, response)
    elif route.is_page:
        if response.status >= 400:
            yield from check_body(refusal(), response)
    else:
        operation = document()["paths"][route.template][route.method.lower()]
        described = operation["responses"].get(str(response.status))
        if described is None:
            yield f"{response.status} is not described"
        else:
            yield from check_described(described, response)


def check_unmatched(request: web.Request, response: web.StreamResponse) -> Iterator[str]:
    if response.status in NO_ROUTE:
        yield from check_body(refusal(), response)
    elif request.method != "OPTIONS":
        yield f"{response.status} where there is no route"


def check_described(described: Mapping[str, Any], response: web.StreamResponse) -> Iterator[str]:
    for name in described.get("headers", ()):
        if document()["components"]["headers"][name]["required"] and name not in response.headers:
            yield f"the header {name} is missing"
    yield from check_body(described, response)


def check_body(described: Mapping[str, Any], response: web.StreamResponse) -> Iterator[str]:
    content = described.get("content", {})
    if not content:
        if getattr(response, "body", None):
            yield "there is a body, and none is described"
        return
    if response.content_type not in content:
        yield f"{response.content_type} is not described"
        return
    reference = content[response.content_type]["schema"].get("$ref")
    if reference is not None:
        assert isinstance(response, web.Response)
        assert isinstance(response.body, bytes)
        yield from problems_of(reference, orjson.loads(response.body))


def refusal() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Refusal"}
    return {"content": {"application/json": {"schema": schema}}}


@pytest.fixture(scope="session")
def _answers_looked_at() -> Iterator[Complaints]:
    """Every application made from now on looks at its answers."""
    complaints: Complaints = []
    add_routes = gateway_app.add_routes

    async def look(request: web.Request, response: web.StreamResponse) -> None:
        where = f"{request.method} {request.rel_url} {response.status}"
        try:
            complaints.extend(f"{where}: {problem}" for problem in check_answer(request, response))
        except Exception as error:
            complaints.append(f"{where}: {error!r}")
            raise

    def add_and_look(app: web.Application, *arguments: Any) -> None:
        add_routes(app, *arguments)
        app.on_response_prepare.append(look)

    patch = pytest.MonkeyPatch()
    patch.setattr(gateway_app, "add_routes", add_and_look)
    yield complaints
    patch.undo()


@pytest.fixture(autouse=True)
def _answers_are_as_described(_answers_looked_at: Complaints) -> Iterator[None]:
    _answers_looked_at.clear()
    yield
    assert _answers_looked_at == []
