"""The document: https://spec.openapis.org/oas/v3.1.0.html, made once, when somebody asks."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from importlib.metadata import version
from typing import Any, Final

import orjson

from gateway.auth.access import Access
from gateway.openapi.headers import HEADERS, REFUSALS, headers_of
from gateway.openapi.json_schema import make_schemas
from gateway.openapi.parameters import HeaderParameter, QueryParameter
from gateway.openapi.route import JSON, Answer, Route
from gateway.schemas.base import JOB_ID
from gateway.schemas.responses import Refusal

Schema = dict[str, Any]
References = Mapping[Any, Schema]

KEY: Final = "ApiKey"
BEARER: Final = "Token"
SIGNATURE: Final = "Signature"
SECURITY_SCHEMES: Final[Mapping[str, Mapping[str, str]]] = {
    KEY: {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    BEARER: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of the issuer that the gateway was told of, if it was.",
    },
    SIGNATURE: {
        "type": "apiKey",
        "in": "header",
        "name": "Signature-Input",
        "description": "With `Signature` and, where there is a body, `Content-Digest`: the request"
        " is signed (RFC 9421) by the owner of the public Ed25519 key that the key was made with."
        " It covers `@method`, `@authority`, `@path`, `@query` and `content-digest`, and has"
        ' `created`, `keyid`, `nonce` and `alg="ed25519"`.',
    },
}
PROOFS: Final[Sequence[Mapping[str, Sequence[str]]]] = ({KEY: []}, {BEARER: []}, {SIGNATURE: []})
"""Any of these is enough."""
ABOUT: Final = """\
Get files into a shared cache *before* people need them: submit a cache job, and watch it finish, in
files and in bytes.

What needs the key wants it in `X-API-Key`, or, where the gateway was told of an issuer of tokens,
one of those in `Authorization: Bearer …`; or it wants to be signed. Every error, whatever its
status, has one shape, see `Refusal`; whatever belongs to no route is answered so, too. Every answer
has an `X-Request-ID`: the caller's own, if it sent a fit one. KB, MB and GB are powers of 1024
everywhere. A request's
body may be packed (`Content-Encoding: gzip` or `deflate`).
"""
PATH_PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "job_id": {"description": "The job's id.", "schema": JOB_ID}
}


class ApiDescription:
    """The description of these routes, as it is served."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes

    @cached_property
    def body(self) -> bytes:
        """The document as JSON."""
        return orjson.dumps(describe(self._routes))

    @cached_property
    def tag(self) -> str:
        """What changes with it."""
        return blake2b(self.body, digest_size=12).hexdigest()


def describe(routes: Sequence[Route]) -> Schema:
    """The routes that are no pages as an OpenAPI document."""
    routes = [route for route in routes if not route.is_page]
    references, schemas = make_schemas(_shapes_of(routes))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TeamCache gateway",
            "version": version("teamcache-gateway"),
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative to where the document lies: it holds under the prefix of a host, too.
        "servers": [{"url": "../.."}],
        "tags": _tags(routes),
        "paths": _paths(routes, references),
        "components": {
            "schemas": schemas,
            "headers": dict(HEADERS),
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _shapes_of(routes: Sequence[Route]) -> Iterator[Any]:
    yield Refusal
    for route in routes:
        yield from (answer.shape for answer in route.answers if answer.shape is not None)
        yield from (*route.from_client, *route.from_gateway)
        if route.body is not None:
            yield route.body


def _tags(routes: Sequence[Route]) -> Sequence[Schema]:
    modules = {route.tag: sys.modules[route.handler.__module__] for route in routes}
    return [
        {"name": name, "description": (inspect.getdoc(module) or "").partition("\n\n")[0]}
        for name, module in modules.items()
    ]


def _paths(routes: Sequence[Route], references: References) -> Schema:
    paths: Schema = {}
    for route in routes:
        operations = paths.setdefault(route.template, {})
        operations[route.method.lower()] = _operation(route, references)
    return paths


def _operation(route: Route, references: References) -> Schema:
    summary, more = route.words
    operation: Schema = {
        "operationId": route.operation_id,
        "tags": [route.tag],
        "summary": summary,
        "description": more,
        "parameters": _parameters(route),
        "responses": {
            str(answer.status): _response(route, answer, references)
            for answer in route.every_answer
        },
        "security": PROOFS,
    }
    if route.access in (Access.PUBLIC, Access.METRICS):
        # A public route may still know who calls: it looks at the key where one is sent.
        operation["security"] = [{}, *PROOFS] if route.may_ask_for_key else []
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": references[route.body]}},
        }
    if route.from_gateway:
        _add_messages(operation, route, references)
    return {name: value for name, value in operation.items() if value != ""}


def _parameters(route: Route) -> Sequence[Schema]:
    in_path = [
        {"name": name, "in": "path", "required": True, **_path_parameter(name)}
        for name in route.path_parameters
    ]
    in_query = [_parameter("query", parameter) for parameter in route.query]
    in_headers = [_parameter("header", parameter) for parameter in route.headers]
    return [*in_path, *in_query, *in_headers]


def _path_parameter(name: str) -> Mapping[str, Any]:
    return PATH_PARAMETERS.get(name, {"schema": {"type": "string"}})


def _parameter(place: str, parameter: QueryParameter | HeaderParameter) -> Schema:
    return {
        "name": parameter.name,
        "in": place,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _response(route: Route, answer: Answer, references: References) -> Schema:
    is_limited = route.access is not Access.PUBLIC
    names = headers_of(answer.status, is_limited, answer.headers)
    is_refusal = answer.shape is Refusal
    response: Schema = {
        "description": REFUSALS[answer.status].text if is_refusal else answer.text,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    content: Schema = {}
    for media in answer.media:
        if media != JSON:
            content[media] = {"schema": {"type": "string"}}
        elif answer.shape is not None:
            content[media] = {"schema": references[answer.shape]}
        if is_refusal:
            example: Refusal = {"success": False, "error": REFUSALS[answer.status].example}
            content[media]["example"] = example
    return response | ({"content": content} if content else {})


def _add_messages(operation: Schema, route: Route, references: References) -> None:
    """OpenAPI knows no WebSocket: what is said on it is told in words, with its shapes."""
    sides = {"fromClient": route.from_client, "fromGateway": route.from_gateway}
    operation["x-messages"] = {
        side: [references[shape] for shape in shapes] for side, shapes in sides.items()
    }
    lists = [
        "\n".join([f"{title}:", "", *(f"- `{shape.__name__}`: {_line(shape)}" for shape in shapes)])
        for title, shapes in (
            ("A client may send", route.from_client),
            ("The gateway sends", route.from_gateway),
        )
    ]
    operation["description"] = "\n\n".join([operation["description"], *lists])


def _line(shape: Any) -> str:
    return " ".join((inspect.getdoc(shape) or "").split())
